// A shared library that begins like ggml and stops after one function: for the loader's test.
extern "C" __attribute__((visibility("default"))) void* ggml_init() { return nullptr; }
