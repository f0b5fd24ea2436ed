// What a bisect says on the terminal while it works and when it is done, and its log file.
#pragma once

#include <filesystem>
#include <memory>
#include <string>

#include "harness/bisect/bisect.h"
#include "reports/sink.h"

namespace attest::cli {

class BisectConsole : public BisectListener {
 public:
  // `log`: gets every step with the whole reason where it could not be judged; empty: none.
  BisectConsole(const BisectQuestion& question, std::filesystem::path log);
  ~BisectConsole() override;
  BisectConsole(const BisectConsole&) = delete;
  BisectConsole& operator=(const BisectConsole&) = delete;

  // What is asked of which history, before the ends are looked at.
  void open(const std::string& verb, const BisectHistory& history);
  void on_doing(const std::string& what) override;
  void on_premise(const StepReport& older, const StepReport& newer, const std::string& about) override;
  void on_left(const StepsLeft& left, double seconds) override;
  void on_step(const StepReport& step) override;
  // The first bad (good) step and what was seen on both sides of it, or why there is none. Returns the exit code.
  int conclude(const BisectOutcome& outcome, BisectHistory& history);

 private:
  void say(const std::string& line);   // on standard output and in the log
  void note(const std::string& line);  // in the log alone
  void erase_status();
  void row(const StepReport& report);
  void sides(const BisectOutcome& outcome);

  const BisectQuestion& question_;
  std::filesystem::path log_path_;
  std::unique_ptr<Sink> log_;
  FdSink out_ = FdSink::standard_output();
  FdSink status_ = FdSink::standard_error();
  bool drawn_ = false;
  std::size_t name_width_ = 12;
};

}  // namespace attest::cli
