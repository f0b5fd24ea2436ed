#include "harness/bundle/bundle_writer.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <cstring>
#include <limits>
#include <vector>

#include "cases/dense_array.h"
#include "cases/file_io.h"
#include "cases/npy.h"
#include "harness/row_choice.h"

namespace attest {
namespace fs = std::filesystem;
namespace {

constexpr double kBudgetFlop = 2e8;  // of judged rows whose budgets are worked out for the bundle alone
constexpr std::string_view kPartial = ".partial-";
constexpr std::uint64_t kManifestBytes = 4096;

std::string directory_name(const VerdictRecord& record) {
  std::string name = record.case_id + "-" + record.backend;
  std::replace_if(
      name.begin(), name.end(),
      [](char c) { return std::isalnum(static_cast<unsigned char>(c)) == 0 && c != '.' && c != '_'; }, '-');
  return name;
}

// A basic TOML string.
std::string toml_string(std::string_view text) {
  std::string out = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') {
      out += {'\\', c};
    } else if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) {
      out += fmt::format("\\u{:04x}", static_cast<unsigned char>(c));
    } else {
      out += c;
    }
  }
  return out + '"';
}

std::uint64_t bytes_below(const fs::path& dir) {
  std::uint64_t bytes = 0;
  std::error_code failed;
  for (fs::recursive_directory_iterator entry(dir, failed), end; !failed && entry != end; entry.increment(failed)) {
    if (entry->is_regular_file(failed) && !failed) bytes += entry->file_size(failed);
  }
  return bytes;
}

Unexpected in_file(Unexpected error, const fs::path& file) {
  error.value().file = file.string();
  return error;
}

// The files of one bundle, and the manifest that grows with them.
class Bundle {
 public:
  Bundle(const FailedCase& failed, fs::path dir) : failed_(failed), dir_(std::move(dir)) {}

  Expected<void> write() {
    describe();
    if (auto tensors = write_tensors(); !tensors) return tensors;
    if (auto answers = write_answers(); !answers) return answers;
    manifest_ += found_;
    return write_file((dir_ / "manifest.toml").string(), manifest_);
  }

 private:
  void describe() {
    const VerdictRecord& r = failed_.record;
    manifest_ = fmt::format(
        "# {} of {}: `attest check` judges these bytes; its line makes them again:\n"
        "# attest run -b '{}' --case '{}'\n\n[[case]]\nname = {}\nline = {}\n",
        info(r.verdict).name, r.backend, r.backend, r.line, toml_string(r.case_id), toml_string(r.line));
    found_ = "\n[found]\n";
    const auto add = [&](std::string_view key, std::string_view text) {
      if (!text.empty()) found_ += fmt::format("{} = {}\n", key, toml_string(text));
    };
    add("verdict", info(r.verdict).name);
    add("backend", r.backend);
    add("build", r.build_id);
    add("path", r.path);
    add("detail", r.detail);
    add("suspect", r.triage.suspect);
    add("says", r.triage.says);
    add("where", r.triage.place);
    add("fingerprint", r.triage.fingerprint);
    add("relations", fmt::format("{}", fmt::join(r.relations_broken, ",")));
    if (failed_.contract != nullptr && !std::isnan(r.err_over_b))
      found_ += fmt::format("err_over_b = {}\n", toml_number(r.err_over_b));
  }

  static std::string toml_number(double x) { return std::isinf(x) ? "inf" : fmt::format("{:.9e}", x); }

  Expected<void> save(const std::string& key, const StoredArray& array, std::string_view dtype = {}) {
    const std::string file = key + ".npy";
    manifest_ += dtype.empty()
                     ? fmt::format("{} = {}\n", key, toml_string(file))
                     : fmt::format("{} = {{ file = {}, dtype = {} }}\n", key, toml_string(file), toml_string(dtype));
    return write_npy((dir_ / file).string(), array.type, array.shape, array.bytes);
  }

  Expected<void> write_tensors() {
    const AttentionInputs views = input_views(failed_.the_case, failed_.plan, failed_.buffers);
    if (failed_.the_case.problem.op != Op::flash_attn_ext) return write_allocations();
    struct Named {
      const char* key;
      const TensorView& view;
    };
    for (const auto& [key, view] :
         {Named{"q", views.q}, {"k", views.k}, {"v", views.v}, {"mask", views.mask}, {"sinks", views.sinks}}) {
      if (!view.present() || view.elements() == 0 || (*key == 'v' && failed_.plan.v_view_of_k)) continue;
      StoredArray array = gather(view);
      if (&view == &views.sinks) array.shape = {view.ne[0]};
      const bool plain = view.dtype == DType::f32 || view.dtype == DType::f16;
      if (auto saved = save(key, array, plain ? "" : info(view.dtype).name); !saved) return saved;
    }
    return {};
  }

  // The other ops have tensors of many kinds in these places: each as the bytes of its memory.
  Expected<void> write_allocations() {
    struct Named {
      const char* key;
      const TensorPlan& plan;
      const std::byte* memory;
    };
    const InputPlan& p = failed_.plan;
    const InputBuffers& b = failed_.buffers;
    manifest_ += "allocations = true\n";
    for (const auto& [key, plan, memory] : {Named{"q", p.q, b.q},
                                            {"k", p.k, b.k},
                                            {"v", p.v, b.v},
                                            {"mask", p.mask, b.mask},
                                            {"sinks", p.sinks, b.sinks}}) {
      if (plan.bytes == 0) continue;
      if (auto saved = save(key, {ArrayType::u8, {plan.bytes}, {memory, memory + plan.bytes}}); !saved) return saved;
    }
    return {};
  }

  // Rows as [n_seq, n_q, n_head, d_v]; where not all were judged, those alone, with their places.
  Expected<void> write_rows(const std::string& key, const std::vector<double>& values, const std::vector<Row>& rows,
                            std::string& into) {
    const AttentionProblem& p = failed_.the_case.problem;
    const auto d_v = static_cast<std::size_t>(p.d_v);
    const bool all = static_cast<std::int64_t>(rows.size()) == p.n_seq * p.n_head * p.n_q;
    std::vector<double> ordered(values.size());
    StoredArray places{ArrayType::i64, {static_cast<std::int64_t>(rows.size()), 3}, {}};
    for (std::size_t r = 0; r < rows.size(); ++r) {
      const Row& row = rows[r];
      const std::size_t at = all ? static_cast<std::size_t>((row.seq * p.n_q + row.query) * p.n_head + row.head) : r;
      std::copy_n(values.begin() + static_cast<std::ptrdiff_t>(r * d_v), d_v,
                  ordered.begin() + static_cast<std::ptrdiff_t>(at * d_v));
      for (const std::int64_t part : {row.seq, row.head, row.query}) {
        const auto* bytes = reinterpret_cast<const std::byte*>(&part);
        places.bytes.insert(places.bytes.end(), bytes, bytes + sizeof part);
      }
    }
    const std::vector<std::int64_t> shape =
        all ? std::vector<std::int64_t>{p.n_seq, p.n_q, p.n_head, p.d_v}
            : std::vector<std::int64_t>{static_cast<std::int64_t>(rows.size()), p.d_v};
    if (auto written =
            write_npy((dir_ / (key + ".npy")).string(), ArrayType::f64, shape, std::as_bytes(std::span(ordered)));
        !written)
      return written;
    into += fmt::format("{} = {{ file = \"{}.npy\"{} }}\n", key, key,
                        all ? "" : fmt::format(", rows = \"{}_rows.npy\"", key));
    if (all) return {};
    return write_npy((dir_ / (key + "_rows.npy")).string(), ArrayType::i64, places.shape, places.bytes);
  }

  Expected<void> write_budget() {
    Key& key = *failed_.key;
    std::vector<std::size_t> wanted;
    if (static_cast<double>(key.rows().size()) * row_flop(failed_.the_case.problem) <= kBudgetFlop) {
      for (std::size_t i = 0; i < key.rows().size(); ++i) wanted.push_back(i);
    }
    std::vector<Row> rows;
    std::vector<double> values;
    for (const auto& [index, budget] : key.budgets(*failed_.contract, wanted)) {
      rows.push_back(key.rows()[index]);
      for (const double b : budget.fail) values.push_back(budget.range ? std::numeric_limits<double>::quiet_NaN() : b);
    }
    if (rows.empty()) return {};
    return write_rows("budget", values, rows, found_);
  }

  Expected<void> write_answers() {
    if (failed_.key != nullptr) {
      const Key::Answer& answer = failed_.key->under(QRounding::none);
      if (auto written = write_rows("expected", answer.eigen, failed_.key->rows(), manifest_); !written) return written;
      if (failed_.contract != nullptr) {
        if (auto written = write_budget(); !written) return written;
      }
    }
    if (failed_.output.empty()) return {};
    TensorView out;
    static_cast<TensorShape&>(out) = failed_.plan.out.shape;
    out.data = failed_.output.data() + failed_.plan.out.offset;
    const StoredArray array = gather(out);
    found_ += "output = \"output.npy\"\n";
    return write_npy((dir_ / "output.npy").string(), array.type, array.shape, array.bytes);
  }

  const FailedCase& failed_;
  fs::path dir_;
  std::string manifest_, found_;
};

// What a bundle takes, about: its tensors, expected output and budget in f64, the answer.
std::uint64_t predicted_bytes(const FailedCase& failed) {
  const InputPlan& p = failed.plan;
  std::int64_t bytes = 0;
  for (const TensorPlan* plan : {&p.q, &p.k, &p.v, &p.mask, &p.sinks}) {
    if (plan->bytes == 0) continue;
    bytes += failed.key == nullptr ? plan->bytes : dense_bytes(plan->shape);
  }
  bytes += dense_bytes(p.out.shape);
  if (failed.key != nullptr)
    bytes += 2 * 8 * static_cast<std::int64_t>(failed.key->rows().size()) * failed.the_case.problem.d_v;
  return static_cast<std::uint64_t>(bytes) + kManifestBytes;
}

}  // namespace

Expected<std::unique_ptr<BundleWriter>> BundleWriter::open(const fs::path& dir, const BundleLimits& limits) {
  std::error_code failed;
  fs::create_directories(dir, failed);
  if (failed) return in_file(harness_error(fmt::format("cannot be made: {}", failed.message())), dir);
  if (::access(dir.c_str(), W_OK) != 0)
    return in_file(harness_error(fmt::format("cannot be written: {}", std::strerror(errno))), dir);
  std::unique_ptr<BundleWriter> writer(new BundleWriter(dir, limits));
  for (const auto& entry : fs::directory_iterator(dir, failed)) {
    const std::string name = entry.path().filename().string();
    if (name.starts_with(kPartial)) {
      const auto pid = static_cast<pid_t>(std::strtol(name.c_str() + kPartial.size(), nullptr, 10));
      if (pid > 0 && ::kill(pid, 0) != 0 && errno == ESRCH) fs::remove_all(entry.path(), failed);
    } else if (fs::exists(entry.path() / "manifest.toml", failed)) {
      ++writer->count_;
      writer->bytes_ += bytes_below(entry.path());
    }
  }
  if (failed) return in_file(harness_error(fmt::format("cannot be read: {}", failed.message())), dir);
  return writer;
}

Expected<void> BundleWriter::write(const FailedCase& failed, const std::string& name) {
  const fs::path partial = dir_ / fmt::format("{}{}-{}", kPartial, ::getpid(), name), target = dir_ / name;
  std::error_code gone, wrong;
  fs::create_directory(partial, wrong);
  auto written =
      wrong ? Expected<void>(in_file(harness_error(fmt::format("cannot be made: {}", wrong.message())), partial))
            : Bundle(failed, partial).write();
  if (!written) {
    fs::remove_all(partial, gone);
    return written;
  }
  const fs::path old = partial.string() + ".old";
  if (fs::exists(target, gone)) fs::rename(target, old, gone);
  fs::rename(partial, target, wrong);
  fs::remove_all(old, gone);
  if (!wrong) return {};
  fs::remove_all(partial, gone);
  return in_file(harness_error(fmt::format("cannot be put in its place: {}", wrong.message())), target);
}

void BundleWriter::save(const FailedCase& failed) {
  std::string name = directory_name(failed.record);
  {
    const std::scoped_lock lock(mutex_);
    const std::string base = name;
    for (int n = 2; named_.contains(name); ++n) name = fmt::format("{}-{}", base, n);
    std::error_code none;
    const bool replaces = fs::exists(dir_ / name, none);
    const std::uint64_t bytes = predicted_bytes(failed), before = replaces ? bytes_below(dir_ / name) : 0;
    if ((!replaces && count_ >= limits_.count) || bytes_ - std::min(before, bytes_) + bytes > limits_.bytes) {
      ++tally_.beyond_limit;
      return;
    }
    named_.insert(name);
    count_ += replaces ? 0 : 1;
    bytes_ += bytes - std::min(before, bytes_);
  }
  const auto written = write(failed, name);
  const std::scoped_lock lock(mutex_);
  if (written) {
    ++tally_.saved;
  } else if (tally_.unwritten++ == 0) {
    tally_.error = written.error();
  }
}

BundleWriter::Tally BundleWriter::tally() const {
  const std::scoped_lock lock(mutex_);
  return tally_;
}

}  // namespace attest
