#include "backends/process/exchange.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <span>

#include "cases/dense_array.h"
#include "cases/npy.h"

namespace attest::process {
namespace {

namespace fs = std::filesystem;

Expected<void> write_bytes(const std::string& file, std::span<const std::byte> bytes) {
  const int fd = open(file.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  if (fd < 0) return harness_error(file + ": " + std::strerror(errno));
  std::size_t done = 0;
  while (done < bytes.size()) {
    const ssize_t n = write(fd, bytes.data() + done, bytes.size() - done);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) break;
    done += static_cast<std::size_t>(n);
  }
  const int why = errno;
  close(fd);
  return done == bytes.size() ? Expected<void>{} : harness_error(file + ": " + std::strerror(why));
}

Expected<void> write_array(const FileTensor& tensor, const TensorView& view) {
  const StoredArray array = gather(view);
  return write_npy(tensor.file, array.type, tensor.name == "sinks" ? array_shape(tensor) : array.shape, array.bytes);
}

}  // namespace

std::vector<std::int64_t> array_shape(const FileTensor& tensor) {
  const auto& ne = tensor.shape.ne;
  if (tensor.name == "sinks") return {ne[0]};
  return {ne[3], ne[2], ne[1], ne[0]};
}

std::string cannot_carry(const AttentionProblem& problem, Transfer transfer) {
  if (problem.layout.sparse) return "a sparse tensor does not fit into a file";
  const bool empty = problem.n_kv == 0 || problem.n_q == 0;
  if (transfer == Transfer::npy && empty) return "an .npy file holds no dimension of 0";
  return {};
}

Expected<std::vector<FileTensor>> write_tensors(const AttentionInputs& inputs, const MutableTensorView& out,
                                                Transfer transfer, const fs::path& directory) {
  const InputPlan plan = plan_inputs(*inputs.problem);
  struct Input {
    const char* name;
    const TensorView* view;
    const TensorPlan* plan;
  };
  const bool memory = transfer == Transfer::memory;
  const auto path = [&](const std::string& name) { return (directory / (name + (memory ? ".bin" : ".npy"))).string(); };
  std::vector<FileTensor> tensors;
  for (const Input& input :
       {Input{"q", &inputs.q, &plan.q}, Input{"k", &inputs.k, &plan.k}, Input{"v", &inputs.v, &plan.v},
        Input{"mask", &inputs.mask, &plan.mask}, Input{"sinks", &inputs.sinks, &plan.sinks}}) {
    if (!input.view->present()) continue;
    FileTensor tensor{input.name, path(input.name), *input.view, input.plan->offset};
    Expected<void> written;
    if (!memory) {
      written = write_array(tensor, *input.view);
    } else if (input.view == &inputs.v && plan.v_view_of_k) {
      tensor.file = path("k");
    } else {
      const std::byte* from = input.view->data - input.plan->offset;
      written = write_bytes(tensor.file, {from, static_cast<std::size_t>(input.plan->bytes)});
    }
    if (!written) return Unexpected(written.error());
    tensors.push_back(std::move(tensor));
  }
  FileTensor output{"output", path("output"), out, 0};
  std::error_code none;
  fs::remove(output.file, none);
  if (memory) {  // what lies there before the call must not be taken for an answer
    const auto bytes = static_cast<std::size_t>(out.elements()) * sizeof(float);
    if (auto written = write_bytes(output.file, {out.data, bytes}); !written) return Unexpected(written.error());
  }
  tensors.push_back(std::move(output));
  return tensors;
}

Expected<void> read_output(const std::string& file, Transfer transfer, const MutableTensorView& out) {
  const auto bytes = static_cast<std::size_t>(out.elements()) * sizeof(float);
  std::error_code none;
  if (!fs::exists(file, none)) return harness_error("the output file " + file + " does not exist");
  if (transfer == Transfer::memory) {
    std::error_code error;
    const auto size = fs::file_size(file, error);
    if (error || size != bytes) {
      return harness_error("the output file " + file + " has " + std::to_string(error ? 0 : size) +
                           " bytes; this problem has " + std::to_string(bytes));
    }
    std::ifstream in(file, std::ios::binary);
    in.read(reinterpret_cast<char*>(out.data), static_cast<std::streamsize>(bytes));
    if (in.gcount() != static_cast<std::streamsize>(bytes)) return harness_error("cannot read " + file);
    return {};
  }
  auto array = read_npy(file);
  if (!array) return harness_error("the output file is no array: " + array.error().text());
  const std::vector<std::int64_t> shape = array_shape(FileTensor{"output", file, out, 0});
  if (array->type != ArrayType::f32 || array->shape != shape) {
    return harness_error("the output file " + file + " holds " + std::string(name(array->type)) + " " +
                         shape_text(array->shape) + "; this problem has f32 " + shape_text(shape));
  }
  std::memcpy(out.data, array->bytes.data(), bytes);
  return {};
}

}  // namespace attest::process
