// SPDX-License-Identifier: Apache-2.0

#include "datasets/swc.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <string_view>
#include <unordered_map>
#include <utility>

#include "datasets/fields.h"
#include "datasets/line_reader.h"

namespace silurus::datasets {
namespace {

using rtree::Box;
using rtree::Entry;

constexpr std::size_t kMaxSamples = 1 << 22;  // samples in a file; 10,000 are already unusual
constexpr std::size_t kColumns = 7;
constexpr std::array<const char*, kColumns> kNames = {"sample", "kind",   "x",     "y",
                                                      "z",      "radius", "parent"};
constexpr std::string_view kBlanks = " \t";
constexpr double kNoParent = -1;

template <int D>
class SwcSource final : public Source<D> {
 public:
  SwcSource(LineReader lines, bool skip_bad) : lines_(std::move(lines)), skip_bad_(skip_bad) {}

  Result<std::size_t> read(std::span<Entry<D>> batch) override {
    std::size_t count = 0;
    while (count < batch.size() && !is_at_end_) {
      const auto line = lines_.next();
      if (!line) return failed(line.error());
      is_at_end_ = line->is_end;
      const std::string_view text = trimmed(line->text);
      if (text.empty() || text.starts_with('#')) continue;
      const auto got = line->is_too_long ? bad("the line is too long") : parse(text, batch[count]);
      if (got) {
        count += *got ? 1 : 0;
      } else if (!skip_bad_ || got.error().code != ErrorCode::kProtocol) {
        return failed(got.error());
      } else if (skipped_++ == 0) {
        first_skipped_ = got.error().message;
      }
    }
    return count;
  }
  std::optional<std::uint64_t> total_entries() const override { return std::nullopt; }
  Progress progress() const override { return lines_.progress(); }
  std::uint64_t skipped() const override { return skipped_; }
  std::string first_skipped() const override { return first_skipped_; }
  std::string description() const override {
    constexpr const char* kText =
        "SWC: a box about each segment, radii included; ids are the samples' numbers";
    return D == 2 ? kText + std::string("; z is left out") : kText;
  }

 private:
  struct Sample {
    std::array<double, 3> at;
    double radius;
  };

  tl::unexpected<Error> failed(const Error& error) {
    is_at_end_ = true;
    return fail(error);
  }

  Result<bool> bad(const std::string& what) const {
    return fail(ErrorCode::kProtocol,
                lines_.name() + ":" + std::to_string(lines_.line_number()) + ": " + what);
  }

  /// False for a sample without a parent: there is no segment.
  Result<bool> parse(std::string_view text, Entry<D>& entry) {
    std::array<double, kColumns> numbers{};
    std::string_view parent_text;
    std::string_view sample_text;
    for (std::size_t i = 0; i < kColumns; ++i) {
      text.remove_prefix(std::min(text.find_first_not_of(kBlanks), text.size()));
      const std::string_view field = text.substr(0, text.find_first_of(kBlanks));
      text.remove_prefix(field.size());
      const auto number = number_of(field);
      if (!number || !std::isfinite(*number)) {
        return bad("column " + std::to_string(i + 1) + " (" + kNames[i] + "): " + shown(field) +
                   ", expected a finite number");
      }
      numbers[i] = *number;
      if (i == 0) sample_text = field;
      if (i == kColumns - 1) parent_text = field;
    }
    if (!trimmed(text).empty()) return bad("more than 7 columns");
    const auto sample = id_of(sample_text);
    if (!sample) return bad("the sample " + shown(sample_text) + " is no whole number from 0");
    return add(*sample, {{numbers[2], numbers[3], numbers[4]}, numbers[5]}, parent_text,
               numbers[6] == kNoParent, entry);
  }

  Result<bool> add(std::uint64_t number, const Sample& sample, std::string_view parent_text,
                   bool is_root, Entry<D>& entry) {
    if (sample.radius < 0) return bad("the radius is below 0");
    const auto parent = is_root ? std::nullopt : id_of(parent_text);
    const auto from = parent ? samples_.find(*parent) : samples_.end();
    if (!is_root && from == samples_.end()) {
      return bad("the parent " + shown(parent_text) + " is no sample of a line before");
    }
    if (samples_.size() == kMaxSamples) {
      return fail(ErrorCode::kTooLarge,
                  lines_.name() + ": more than " + std::to_string(kMaxSamples) + " samples");
    }
    if (!is_root) {
      entry = {number, box_about(sample, from->second)};
      if (!rtree::check_box(entry.box)) return bad("a coordinate is too large");
    }
    if (!samples_.emplace(number, sample).second) {
      return bad("the sample " + std::to_string(number) + " is there twice");
    }
    return !is_root;
  }

  static Box<D> box_about(const Sample& a, const Sample& b) {
    Box<D> box;
    for (std::size_t d = 0; d < D; ++d) {
      box.min[d] = std::min(a.at[d] - a.radius, b.at[d] - b.radius);
      box.max[d] = std::max(a.at[d] + a.radius, b.at[d] + b.radius);
    }
    return box;
  }

  LineReader lines_;
  bool skip_bad_;
  std::unordered_map<std::uint64_t, Sample> samples_;
  bool is_at_end_ = false;
  std::uint64_t skipped_ = 0;
  std::string first_skipped_;
};

}  // namespace

template <int D>
Result<std::unique_ptr<Source<D>>> open_swc(const std::string& path, const SwcOptions& options) {
  auto lines = LineReader::open(path);
  if (!lines) return fail(lines.error());
  return std::make_unique<SwcSource<D>>(std::move(*lines), options.skip_bad);
}

template Result<std::unique_ptr<Source<2>>> open_swc<2>(const std::string&, const SwcOptions&);
template Result<std::unique_ptr<Source<3>>> open_swc<3>(const std::string&, const SwcOptions&);

}  // namespace silurus::datasets
