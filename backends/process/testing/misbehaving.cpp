// Answers requests and does one thing wrong, for tests: misbehaving MODE.
#include <unistd.h>

#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <iostream>
#include <string>
#include <vector>

#include "cases/npy.h"

namespace {

// What stands between the quotes after "key":" in a request.
std::string text_of(const std::string& line, const std::string& key, std::size_t from = 0) {
  const std::size_t at = line.find("\"" + key + "\":\"", from);
  return at == std::string::npos
             ? ""
             : line.substr(at + key.size() + 4, line.find('"', at + key.size() + 4) - at - key.size() - 4);
}

std::string number_of(const std::string& line, const std::string& key) {
  const std::size_t at = line.find("\"" + key + "\":");
  return line.substr(at + key.size() + 3, line.find_first_of(",}", at) - at - key.size() - 3);
}

std::string capabilities(const std::string& mode) {
  const std::string version = mode == "version" ? "7" : mode == "no-version" ? "\"one\"" : "1";
  std::string more;
  if (mode == "feature") more = ",\"features\":[\"softcaps\"]";
  if (mode == "contract") more = ",\"contract\":{\"u_acc\":-1}";
  if (mode == "field") more = ",\"contract\":{\"u_ac\":0}";
  if (mode == "spelling") more = ",\"featurs\":[]";
  if (mode == "asks" || mode == "asks-garbage" || mode == "asks-no") more = ",\"asks_supports\":true";
  if (mode == "transfer") more = ",\"transfer\":\"pigeon\"";
  if (more.find("features") == std::string::npos) more += ",\"features\":[\"mask\"]";
  const std::string ops = mode == "ops" ? "[\"conv_2d\"]" : "[\"flash_attn_ext\"]";
  const std::string type = mode == "dtype" ? "f23" : "f32";
  return "{\"attest\":" + version + ",\"name\":\"misbehaving\",\"build\":\"7\",\"ops\":" + ops +
         ",\"dtypes\":{\"k\":[\"" + type + "\"],\"v\":[\"f32\"],\"mask\":[\"f16\"]}" + more + "}";
}

}  // namespace

int main(int argc, char** argv) {
  const std::string mode = argc > 1 ? argv[1] : "";
  if (mode == "silent-death") return 3;
  if (mode == "start-garbage") std::cout << "hello, I am a kernel" << std::endl;
  int runs = 0;
  for (std::string line; std::getline(std::cin, line);) {
    const std::string id = number_of(line, "id");
    if (text_of(line, "ask") == "capabilities") {
      std::cout << capabilities(mode) << std::endl;
      continue;
    }
    if (text_of(line, "ask") == "supports") {
      if (mode == "asks-garbage") std::cout << "{\"id\":" << id << ",\"supports\":\"maybe\"}" << std::endl;
      if (mode == "asks-no") std::cout << "{\"id\":" << id << ",\"supports\":false}" << std::endl;
      if (mode == "asks") std::cout << "{\"id\":" << id << ",\"supports\":true}" << std::endl;
      continue;
    }
    ++runs;
    std::fprintf(stderr, "run %d\n", runs);
    // The rows of the tests' cases see no key: zeros are right. [n_seq, n_q, n_head, d_v]
    const std::string file = text_of(line, "file", line.find("\"output\""));
    std::vector<std::int64_t> shape;
    for (const char* key : {"n_seq", "n_q", "n_head", "d_v"}) shape.push_back(std::stoll(number_of(line, key)));
    if (mode == "shape") std::swap(shape[1], shape[3]);
    const auto type = mode == "type" ? attest::ArrayType::f64 : attest::ArrayType::f32;
    const std::vector<std::byte> zeros(
        static_cast<std::size_t>(shape[0] * shape[1] * shape[2] * shape[3] * attest::element_bytes(type)));
    if (mode != "missing" && !attest::write_npy(file, type, shape, zeros)) return 4;
    if (mode == "truncated" && truncate(file.c_str(), 100) != 0) return 4;
    if (mode == "crash") std::raise(SIGSEGV);
    if (mode == "exit") std::exit(5);
    if (mode == "crash-once" && runs == 2) std::abort();
    if (mode == "loop" || mode == "sleep") {
      while (mode == "loop" || pause() < 0) {
        if (getppid() == 1) return 6;
      }
    }
    if (mode == "close") {
      close(STDOUT_FILENO);
      pause();
    }
    if (mode == "garbage") {
      std::cout << "Traceback: something" << std::endl;
    } else if (mode == "other-id") {
      std::cout << "{\"id\":99999}" << std::endl;
    } else if (mode == "error") {
      std::cout << "{\"id\":" << id << ",\"error\":\"head size 16 is not compiled in\"}" << std::endl;
    } else if (mode == "elsewhere") {
      std::cout << "{\"id\":" << id << ",\"output\":\"/nowhere/out.npy\"}" << std::endl;
    } else if (mode == "long-name") {
      std::cout << "{\"id\":" << id << ",\"output\":\"" << std::string(5000, 'x') << "\"}" << std::endl;
    } else if (mode == "negative-time") {
      std::cout << "{\"id\":" << id << ",\"output\":\"" << file << "\",\"cpu_seconds\":-5}" << std::endl;
    } else if (mode == "no-newline") {
      for (int i = 0; i < 40000; ++i) std::cout << "this never ends. and goes on and on. ";
      std::cout.flush();
      pause();
    } else {
      std::cout << "{\"id\":" << id << ",\"output\":\"" << file << "\"}" << std::endl;
    }
  }
  return 0;
}
