// What a compiled kernel and the simulator that runs it know of each other: plain data and function pointers, so that
// it reads the same in the host's C++ and in the kernel's, which has no standard library.
#pragma once

namespace attest::msl {

inline constexpr int kAbi = 7;  // part of the key of the compile cache
inline constexpr unsigned kSimdWidth = 32;

// What a parameter of a kernel is bound to.
enum class Binding : unsigned char {
  pointer,  // [[buffer(n)]] or [[threadgroup(n)]]
  thread_position_in_grid,
  thread_position_in_threadgroup,
  thread_index_in_threadgroup,
  thread_index_in_simdgroup,
  thread_index_in_quadgroup,
  simdgroup_index_in_threadgroup,
  quadgroup_index_in_threadgroup,
  simdgroups_per_threadgroup,
  threads_per_simdgroup,
  threadgroup_position_in_grid,
  threadgroups_per_grid,
  threads_per_threadgroup,
  threads_per_grid,
};

// Where the running thread stands.
struct Position {
  unsigned thread[3];       // in its threadgroup
  unsigned index;           // the same, linear
  unsigned lane;            // index % 32
  unsigned simdgroup;       // index / 32
  unsigned threadgroup[3];  // in the grid
  unsigned threadgroups[3];
  unsigned threads[3];  // per threadgroup
  // Compiled with steps: rank of its basic block in the upper half, stops since that began in the lower.
  unsigned long step;
};

// A basic block in the order in which lanes of a simdgroup run them (block_order.h).
struct Block {
  unsigned rank;
  unsigned first;  // rank of the first block of its function
  unsigned last;   // head of a loop: rank of the loop's last block; else 0
};

// The arguments of one dispatch, one entry per parameter of the kernel.
struct Call {
  void* const* pointers;
  const Binding* bindings;
};

struct Kernel {
  const char* name;
  int line;
  const char* signature;  // per parameter, separated by ';': "buffer(0)", "threadgroup(1)", "thread_position_in_grid"
  int parameters;
  const unsigned* bytes;  // per parameter: what a reference needs, 0 of all else
  const char* constants;  // names, each with a ';' behind it, of the function constants that its text leads to
  void (*entry)(const Call&, const Position&);
  Kernel* next;
};

struct FunctionConstant {
  const char* name;
  int index;  // -1: none; a constant computed from others
  unsigned bytes;
  char kind;  // 'f' floating, 'i' integer, 'b' bool
  void* value;
  bool* defined;
  void (*evaluate)();  // only of computed ones; run in textual order once the others are set
  FunctionConstant* next;
};

// Rules on all lanes of a group at once: `slots[lane]` is what each lane handed over, `lanes` says which are present.
// Returns what is wrong with it, or nullptr.
using Combine = const char* (*)(void* const* slots, unsigned lanes);

enum BarrierScope : unsigned { kThreadgroupBarrier, kSimdgroupBarrier };
enum MemoryFlags : unsigned { kMemNone = 0, kMemDevice = 1, kMemThreadgroup = 2, kMemTexture = 4 };

// The simulator's side.
struct Runtime {
  void (*barrier)(BarrierScope scope, unsigned memory_flags, int line);
  void (*collective)(const char* what, void* slot, Combine combine, bool needs_all_lanes, int line);
  void* (*threadgroup_object)(int id, const char* name, unsigned bytes, unsigned alignment, int line);
  void (*access)(const void* address, unsigned bytes, bool write, const void* pc);
  // Compiled with steps: the thread stops, as if it were at `step`, until no lane of its simdgroup is behind.
  void (*stop)(unsigned long step);
};

// The kernel's side, found by name (kModuleSymbol) in its shared object.
struct Module {
  int abi;
  Kernel* kernels;
  FunctionConstant* constants;  // in textual order
  const Runtime** runtime;
  Position** self;            // the running thread
  const char** watched_from;  // accesses in [from, to) are told to Runtime::access, where the module was
  const char** watched_to;    // compiled with checks or steps
  const char** device_from;   // the same of device memory that the dispatch may write; with checks
  const char** device_to;
  // Compiled with steps: per basic block an index into what the simulator lays at `*blocks`; the addresses and flags of
  // the blocks (1: a function begins), and what follows what.
  unsigned* guards;
  unsigned guard_count;
  const unsigned long* places;
  const unsigned long *flow, *flow_end;
  const Block** blocks;
};
inline constexpr const char* kModuleSymbol = "attest_msl_module";

}  // namespace attest::msl
