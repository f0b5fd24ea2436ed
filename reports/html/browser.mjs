// Opens a page in headless Chromium and evaluates expressions in it, over the browser's own debugging pipe.
//   node browser.mjs PAGE (EXPRESSION | FILE.png)...
// Prints one JSON object: {"ready_ms": N, "values": [...], "problems": [...]}. `problems` are errors and console output.
import { spawn } from "node:child_process";
import { writeFileSync } from "node:fs";

const [page, ...steps] = process.argv.slice(2);
const browser = spawn(process.env.ATTEST_CHROMIUM ?? "chromium",
  ["--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--hide-scrollbars", "--window-size=1400,1000", "--remote-debugging-pipe", "about:blank"],
  { stdio: ["ignore", "ignore", "ignore", "pipe", "pipe"] });
browser.on("error", (error) => { console.error(`cannot start Chromium: ${error.message}`); process.exit(77); });

// Messages are JSON texts, each ended by a zero byte.
let number = 0, rest = "", session;
const waiting = new Map(), problems = [];
browser.stdio[4].setEncoding("utf8").on("data", (chunk) => {
  const parts = (rest + chunk).split("\0");
  rest = parts.pop();
  for (const part of parts) {
    const message = JSON.parse(part);
    if (message.id) { waiting.get(message.id)(message); waiting.delete(message.id); }
    else if (["Runtime.exceptionThrown", "Runtime.consoleAPICalled", "Log.entryAdded"].includes(message.method)) problems.push(message.params);
  }
});
function call(method, params = {}) {
  return new Promise((resolve, reject) => {
    waiting.set(++number, (answer) => (answer.error ? reject(new Error(`${method}: ${answer.error.message}`)) : resolve(answer.result)));
    browser.stdio[3].write(JSON.stringify({ id: number, method, params, sessionId: session }) + "\0");
  });
}
async function evaluate(expression) {
  const answer = await call("Runtime.evaluate", { expression, awaitPromise: true, returnByValue: true });
  if (answer.exceptionDetails) throw new Error(`${expression}: ${answer.exceptionDetails.exception?.description ?? answer.exceptionDetails.text}`);
  return answer.result.value;
}

try {
  const { targetInfos } = await call("Target.getTargets");
  session = (await call("Target.attachToTarget", { targetId: targetInfos.find((t) => t.type === "page").targetId, flatten: true })).sessionId;
  for (const domain of ["Runtime", "Log", "Page"]) await call(`${domain}.enable`);
  const begin = Date.now();
  await call("Page.navigate", { url: page.includes("://") ? page : `file://${page}` });
  while ((await evaluate("document.documentElement?.dataset.ready ?? ''")) !== "yes") {
    if (Date.now() - begin > 60000) throw new Error("the page did not get ready within a minute");
    await new Promise((done) => setTimeout(done, 10));
  }
  const ready_ms = Date.now() - begin, values = [];
  for (const step of steps) {
    if (step.endsWith(".png")) writeFileSync(step, Buffer.from((await call("Page.captureScreenshot")).data, "base64"));
    else values.push(await evaluate(step));
  }
  console.log(JSON.stringify({ ready_ms, values, problems }));
  browser.kill();
  process.exit(0);
} catch (error) {
  console.error(error.message);
  browser.kill();
  process.exit(1);
}
