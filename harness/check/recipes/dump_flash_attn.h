// For a program that uses llama.cpp or ggml: writes every flash_attn_ext it evaluates as raw .npy files and a manifest
// that `attest check` reads. Needs ggml.h and ggml-backend.h alone. With llama.cpp:
//
//   llama_context_params params = llama_context_default_params();
//   params.flash_attn_type = LLAMA_FLASH_ATTN_TYPE_ENABLED;   // older versions: params.flash_attn = true
//   params.cb_eval = dump_flash_attn;
//   params.cb_eval_user_data = new FlashAttnDump("captured", 8);   // directory (must be there), layers at most
//
// With a scheduler of your own: ggml_backend_sched_set_eval_callback(sched, dump_flash_attn, &dump).
#pragma once

#include <ggml-backend.h>
#include <ggml.h>

#include <cstdint>
#include <cstdio>
#include <cstring>
#include <string>
#include <vector>

struct FlashAttnDump {
  FlashAttnDump(std::string directory, int most) : dir(std::move(directory)), left(most) {}
  std::string dir;
  int left, number = 0;
};

// The tensor's bytes as one array of u8; ne and nb go into the manifest.
inline std::string dump_tensor(const FlashAttnDump& dump, const ggml_tensor* t, const char* key) {
  const size_t bytes = ggml_nbytes(t);
  std::vector<char> data(bytes);
  ggml_backend_tensor_get(t, data.data(), 0, bytes);
  const std::string name = std::to_string(dump.number) + "_" + key + ".npy";
  std::string header = "{'descr': '|u1', 'fortran_order': False, 'shape': (" + std::to_string(bytes) + ",), }";
  while ((10 + header.size() + 1) % 64 != 0) header += ' ';
  header += '\n';
  const unsigned char start[10] = {0x93,
                                   'N',
                                   'U',
                                   'M',
                                   'P',
                                   'Y',
                                   1,
                                   0,
                                   static_cast<unsigned char>(header.size() & 0xff),
                                   static_cast<unsigned char>(header.size() >> 8)};
  if (std::FILE* file = std::fopen((dump.dir + "/" + name).c_str(), "wb")) {
    std::fwrite(start, 1, sizeof start, file);
    std::fwrite(header.data(), 1, header.size(), file);
    std::fwrite(data.data(), 1, bytes, file);
    std::fclose(file);
  }
  const auto list = [](const auto* values) {
    std::string text;
    for (int i = 0; i < 4; ++i) text += (i == 0 ? "[" : ", ") + std::to_string(static_cast<long long>(values[i]));
    return text + "]";
  };
  return std::string(key) + " = { file = \"" + name + "\", dtype = \"" + ggml_type_name(t->type) +
         "\", shape = " + list(t->ne) + ", strides = " + list(t->nb) + " }\n";
}

// A ggml_backend_sched_eval_callback. Q, K, V and mask still lie where the op read them when it has just run.
inline bool dump_flash_attn(ggml_tensor* t, bool ask, void* user_data) {
  auto& dump = *static_cast<FlashAttnDump*>(user_data);
  if (ask) return t->op == GGML_OP_FLASH_ATTN_EXT && dump.left > 0;
  --dump.left;
  ++dump.number;
  float params[3];  // scale, max_bias, softcap
  int32_t prec = 0;
  std::memcpy(params, t->op_params, sizeof params);
  std::memcpy(&prec, reinterpret_cast<const char*>(t->op_params) + sizeof params, sizeof prec);
  std::string text = "[[case]]\nname = \"" + std::to_string(dump.number) + " " + t->name + "\"\nlayout = \"ggml\"\n";
  char line[160];
  std::snprintf(line, sizeof line, "scale = %.9g\nmax_bias = %.9g\nsoftcap = %.9g\n", static_cast<double>(params[0]),
                static_cast<double>(params[1]), static_cast<double>(params[2]));
  text += line;
  if (prec == GGML_PREC_F32) text += "prec = \"f32\"\n";
  const char* keys[] = {"q", "k", "v", "mask", "sinks"};
  for (int i = 0; i < 5; ++i)
    if (t->src[i] != nullptr) text += dump_tensor(dump, t->src[i], keys[i]);
  text += dump_tensor(dump, t, "expected") + "\n";
  if (std::FILE* file = std::fopen((dump.dir + "/manifest.toml").c_str(), dump.number == 1 ? "w" : "a")) {
    std::fwrite(text.data(), 1, text.size(), file);
    std::fclose(file);
  }
  return true;
}
