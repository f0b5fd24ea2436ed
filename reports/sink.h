// Where reporters write: a file, a descriptor, or a string in tests. Write errors are values that name the target.
#pragma once

#include <filesystem>
#include <memory>
#include <string>
#include <string_view>

#include "cases/error.h"

namespace attest {

class Sink {
 public:
  virtual ~Sink() = default;
  // All of `text` or an error of kind harness. A closed pipe is an error only where SIGPIPE is ignored: the process
  // (harness/cli) sees to that.
  virtual Expected<void> write(std::string_view text) = 0;
  virtual bool is_terminal() const { return false; }
};

// A file descriptor: one write(2) per call unless the system takes less at a time. `name` is for messages.
class FdSink : public Sink {
 public:
  static FdSink standard_output();
  static FdSink standard_error();
  static FdSink owning(int fd, std::string name) { return {fd, std::move(name), true}; }
  static FdSink borrowing(int fd, std::string name) { return {fd, std::move(name), false}; }
  FdSink(FdSink&& other) noexcept;
  FdSink& operator=(FdSink&&) = delete;
  ~FdSink() override;

  Expected<void> write(std::string_view text) override;
  bool is_terminal() const override;

 private:
  FdSink(int fd, std::string name, bool owned) : fd_(fd), name_(std::move(name)), owned_(owned) {}

  int fd_;
  std::string name_;
  bool owned_;
};

class StringSink : public Sink {
 public:
  explicit StringSink(bool terminal = false) : terminal_(terminal) {}
  Expected<void> write(std::string_view text) override {
    text_ += text;
    return {};
  }
  bool is_terminal() const override { return terminal_; }
  const std::string& text() const { return text_; }

 private:
  std::string text_;
  bool terminal_;
};

// replace: an empty file. append: behind what is there; a last line cut short by a kill is ended first, so that the
// next object starts on a line of its own. The file is locked for as long as the sink lives: a second writer gets an
// error, and what the first one wrote stays.
enum class FileMode { replace, append };
Expected<std::unique_ptr<Sink>> open_file_sink(const std::filesystem::path& path, FileMode mode);

// A terminal, and neither NO_COLOR nor TERM=dumb says otherwise.
bool wants_color(const Sink& sink);

}  // namespace attest
