#include "harness/run/stack_text.h"

#include <gtest/gtest.h>

namespace attest {
namespace {

TEST(StackText, NamesWhatCrashedAndWhoCalledIt) {
  EXPECT_EQ(stack_text("/bin/attest(+0x10fd54)[0x564564ccbd54]\n"
                       "/lib/x86_64-linux-gnu/libc.so.6(+0x3c050)[0x7f040405a050]\n"
                       "/bin/attest(_ZN6attest3cpu6N_AVX37exp_oneEf+0x101)[0x564564d5ccb1]\n"
                       "/bin/attest(_ZN6attest3cpu10vec_kernelINS0_10ProductionEEEdRKNS0_10KernelCallE+0x127)[0x5645]\n"
                       "/lib/libggml-cpu.so(+0x19199b)[0x564564d4d99b]\n"
                       "/bin/attest(_ZN6attest12subject_mainERKSt6vectorIiSaIiEE+0x115b)[0x564564ccddbb]\n"
                       "/bin/attest(_start+0x21)[0x564564c12e51]"),
            "attest::cpu::N_AVX3::exp_one < attest::cpu::vec_kernel < libggml-cpu.so+0x19199b");
}

TEST(StackText, LeavesOutAbortAndWhatCallsIt) {
  EXPECT_EQ(
      stack_text("/bin/attest(+0x1)[0x1]\n/lib/libc.so.6(+0x3c050)[0x2]\n/lib/libc.so.6(gsignal+0x12)[0x3]\n"
                 "/lib/libc.so.6(abort+0xd3)[0x4]\n/lib/libggml-base.so(ggml_abort+0x152)[0x5]\n"
                 "/lib/libggml-cpu.so(ggml_compute_forward_flash_attn_ext+0x77)[0x6]\n/lib/libc.so.6(+0x89134)[0x7]"),
      "ggml_abort < ggml_compute_forward_flash_attn_ext < libc.so.6+0x89134");
}

TEST(StackText, UnderstandsAnonymousNamespacesMembersAndOperators) {
  const auto one = [](const char* symbol) {
    return stack_text(std::string("h(+0x1)[0x1]\na.out(") + symbol + "+0x2)[0x3]");
  };
  EXPECT_EQ(one("_ZNK6attest12_GLOBAL__N_16Budget3rowERKNS_3RowE"), "attest::Budget::row");
  EXPECT_EQ(one("_ZNSt6vectorIfSaIfEE9push_backEOf"), "std::vector::push_back");
  EXPECT_EQ(one("_ZN3FooclEi"), "Foo::operator");
  EXPECT_EQ(one("memcpy"), "memcpy");
}

TEST(StackText, IsShortAndSaysNothingWhereItUnderstandsNothing) {
  std::string many = "h(+0x1)[0x1]\n";
  for (int i = 0; i < 30; ++i) many += "a.out(f+0x1)[0x2]\n";
  EXPECT_EQ(stack_text(many, 3), "f < f < f");
  EXPECT_EQ(stack_text("3   attest  0x0000000104f7 main + 52\nnonsense\n"), "");
  EXPECT_EQ(stack_text(""), "");
}

}  // namespace
}  // namespace attest
