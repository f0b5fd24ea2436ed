// Encode and decode speed per storage type and instruction set; bytes/s counts the f32 side.
#include <benchmark/benchmark.h>

#include <string>
#include <vector>

#include "cases/block_codecs.h"
#include "cases/rng.h"

namespace attest {
namespace {

constexpr std::int64_t kElements = 1 << 16;

struct Rows {
  explicit Rows(DType type) : values(kElements), bytes(static_cast<std::size_t>(row_bytes(type, kElements))) {
    const Rng rng(1, 1);
    for (std::size_t i = 0; i < values.size(); ++i) values[i] = rng.normal(i);
    encode_row(type, values.data(), bytes.data(), kElements);
  }
  std::vector<float> values;
  std::vector<std::byte> bytes;
};

void count_bytes(benchmark::State& state) {
  state.SetBytesProcessed(state.iterations() * kElements * static_cast<std::int64_t>(sizeof(float)));
}

void bench_decode(benchmark::State& state, DType type, RowCodec codec) {
  Rows rows(type);
  for (auto _ : state) {
    codec.decode(type, rows.bytes.data(), rows.values.data(), kElements);
    benchmark::ClobberMemory();
  }
  count_bytes(state);
}

void bench_encode(benchmark::State& state, DType type, RowCodec codec) {
  Rows rows(type);
  for (auto _ : state) {
    codec.encode(type, rows.values.data(), rows.bytes.data(), kElements);
    benchmark::ClobberMemory();
  }
  count_bytes(state);
}

void register_all() {
  for (const RowCodec& codec : all_row_codecs())
    for (int t = 1; t < kDTypeCount; ++t) {  // f32 is a copy
      const auto type = static_cast<DType>(t);
      const std::string name = std::string(info(type).name) + "/" + codec.instruction_set;
      benchmark::RegisterBenchmark(("decode/" + name).c_str(), bench_decode, type, codec);
      benchmark::RegisterBenchmark(("encode/" + name).c_str(), bench_encode, type, codec);
    }
}

}  // namespace
}  // namespace attest

int main(int argc, char** argv) {
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 1;
  attest::register_all();
  benchmark::RunSpecifiedBenchmarks();
  return 0;
}
