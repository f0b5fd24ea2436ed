// A history to bisect: its steps in order, how each is had, and which one to look at next.
#pragma once

#include <atomic>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "backends/registry.h"
#include "cases/error.h"
#include "harness/bisect/search.h"

namespace attest {

struct Step {
  std::string id;     // within its history: a commit, a path, a version
  std::string name;   // for people, short
  std::string title;  // more of it: a commit's subject, a release; may be empty
  bool operator==(const Step&) const = default;
};

// What a step's code can be asked through, once it is there: a ggml build directory or a plug-in's file.
struct Specimen {
  std::filesystem::path ggml, plugin;  // one of them is empty
  std::string release;                 // what the build calls itself; may be empty
  std::string unusable;                // not empty: the step cannot be judged, and why ("build failed ...")
};

struct Obtain {
  std::atomic<bool>* interrupted = nullptr;
  std::function<void(const std::string&)> doing;  // "fetching ...", "building ..."
};

// How far a search is.
struct StepsLeft {
  std::int64_t steps = 0;  // that could still be asked about
  int questions = 0;       // that will be, if all can be judged
};

struct Bracket {
  Step last_no;                  // the last step known to be like the older end
  std::vector<Step> candidates;  // the first one like the newer end is among these, oldest first; the last one is known
};

class BisectHistory {
 public:
  virtual ~BisectHistory() = default;

  virtual std::string describe() const = 0;  // "7 releases of @node-llama-cpp/linux-x64, 3.14.2 .. 3.16.2"
  virtual Step older() const = 0;
  virtual Step newer() const = 0;

  // A step's name where it stands alone: with its package, or a hash in full.
  virtual std::string full_name(const Step& step) const { return step.name; }

  // Identifies the code of a step before it is there; verdicts are kept under it.
  virtual Expected<std::string> identity(const Step& step) = 0;
  // Fetches or builds the step. It stays until another step is obtained. An error ends the bisect; a step that cannot
  // be had while others can is `unusable`.
  virtual Expected<Specimen> obtain(const Step& step, const Obtain& how) = 0;

  // The search, once both ends have been looked at.
  virtual Expected<void> begin() = 0;
  virtual Expected<std::optional<Step>> next() = 0;
  virtual Expected<void> record(const Step& step, Answer like_newer) = 0;
  virtual Expected<StepsLeft> left() = 0;
  virtual Expected<Bracket> bracket() = 0;

  // Whether a step that was obtained stays where it is when others are.
  virtual bool lasting() const { return true; }
  // What to say about the culprit beyond its name, as lines for people: a commit's message and files. May be empty.
  virtual std::vector<std::string> about(const Step& /*culprit*/) { return {}; }
  // The bisect came to its end: what was only there for it may go.
  virtual void close() {}
};

// A history whose steps are all known and in line; what they are is left to derived classes.
class LinearHistory : public BisectHistory {
 public:
  Step older() const override { return steps_.front(); }
  Step newer() const override { return steps_.back(); }
  Expected<void> begin() override;
  Expected<std::optional<Step>> next() override;
  Expected<void> record(const Step& step, Answer like_newer) override;
  Expected<StepsLeft> left() override;
  Expected<Bracket> bracket() override;

 protected:
  // At least two.
  explicit LinearHistory(std::vector<Step> steps);
  const std::vector<Step>& steps() const { return steps_; }

 private:
  std::vector<Step> steps_;
  Search search_;
};

// Builds that lie on this machine: ggml build directories and plug-in files, oldest first. Errors (input): fewer than
// two, one that is not there or is named twice.
Expected<std::unique_ptr<BisectHistory>> builds_history(const std::vector<std::string>& paths);
// One path per line, relative to the file's directory; empty lines and what follows a # do not count.
Expected<std::vector<std::string>> read_list(const std::filesystem::path& file);

// Published releases of an npm package that holds a ggml build, fetched when they are needed and kept below `cache`.
// Errors: harness where npm is missing or has no answer; input for a version that is not published, with its
// neighbours.
struct NpmQuestion {
  std::string package, older, newer;
};
Expected<std::unique_ptr<BisectHistory>> npm_history(const NpmQuestion& question, const std::filesystem::path& cache,
                                                     const Obtain& how);

// Commits of a git repository, built one by one in a work tree of their own below `state`; git's bisect chooses them.
struct GitQuestion {
  std::filesystem::path repository;
  std::string older, newer;            // revisions
  std::string build;                   // for sh, in the work tree
  std::filesystem::path ggml, plugin;  // what it makes, relative to the work tree; one of them is empty
};
Expected<std::unique_ptr<BisectHistory>> git_history(const GitQuestion& question, const std::filesystem::path& state);

}  // namespace attest
