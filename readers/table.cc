// SPDX-License-Identifier: Apache-2.0

#include "readers/table.h"

#include <algorithm>
#include <numeric>
#include <utility>

namespace silurus::readers {
namespace {

template <int D>
class TableReader final : public Reader<D> {
 public:
  TableReader(std::unique_ptr<Table> table, bool skip_bad)
      : table_(std::move(table)), skip_bad_(skip_bad) {}

  Result<std::size_t> read(std::span<rtree::Entry<D>> batch) override {
    std::size_t count = 0;
    while (count < batch.size()) {
      if (at_ == size_) {
        // What is left out makes no batch, which would give the process more time.
        if (begin_ + size_ > 0) renew_cpu_time();
        begin_ += size_;
        at_ = size_ = 0;
        if (begin_ == table_->rows()) break;
        if (auto ok = read_block(); !ok) return fail(ok.error());
      }
      const std::size_t row = at_++;
      if (!block_.is_kept[row]) continue;
      batch[count] = entry_of(row);
      const std::string why = wrong_with(row, batch[count]);
      if (why.empty()) {
        ++count;
      } else if (auto ok = bad(row, why); !ok) {
        return fail(ok.error());
      }
    }
    return count;
  }
  std::optional<std::uint64_t> total_entries() const override {
    const bool is_one_each = !skip_bad_ && !table_->is_filtered();
    return is_one_each ? std::optional(table_->rows()) : std::nullopt;
  }
  std::vector<Note> notes() const override { return table_->notes(); }
  std::uint64_t skipped() const override { return skipped_; }
  std::string first_skipped() const override { return first_skipped_; }
  std::optional<std::uint32_t> thousandths() const override {
    const std::uint64_t rows = table_->rows();
    if (rows == 0) return kThousandths;
    const double part = static_cast<double>(begin_ + at_) / static_cast<double>(rows);
    return static_cast<std::uint32_t>(part * kThousandths);
  }

 private:
  Status read_block() {
    const auto left = table_->rows() - begin_;
    const std::size_t rows = std::min<std::uint64_t>(table_->rows_of_block(), left);
    block_.reset(begin_, rows, table_->coordinates_each());
    if (auto ok = table_->read(begin_, rows, block_); !ok) return ok;
    size_ = rows;
    return {};
  }

  rtree::Entry<D> entry_of(std::size_t row) const {
    const std::size_t each = table_->coordinates_each();
    const double* numbers = block_.coordinates.data() + row * each;
    rtree::Entry<D> entry;
    entry.id = block_.ids[row];
    std::copy_n(numbers, D, entry.box.min.begin());
    std::copy_n(each == D ? numbers : numbers + D, D, entry.box.max.begin());
    return entry;
  }

  std::string wrong_with(std::size_t row, const rtree::Entry<D>& entry) const {
    if (!block_.wrong[row].empty()) return block_.wrong[row];
    const auto ok = rtree::check_box(entry.box);
    return ok ? "" : ok.error().message;
  }

  Status bad(std::size_t row, const std::string& why) {
    const std::string text = table_->name() + ": row " + std::to_string(begin_ + row) + ": " + why;
    if (!skip_bad_) {
      return fail(ErrorCode::kProtocol, text + " (--skip-bad leaves such rows out)");
    }
    if (skipped_++ == 0) first_skipped_ = text;
    return {};
  }

  std::unique_ptr<Table> table_;
  bool skip_bad_;
  RowBlock block_;
  std::uint64_t begin_ = 0;  // first row of the block, in the table
  std::size_t size_ = 0;     // rows of the block
  std::size_t at_ = 0;       // in the block, the next row
  std::uint64_t skipped_ = 0;
  std::string first_skipped_;
};

}  // namespace

void RowBlock::reset(std::uint64_t first, std::size_t rows, std::size_t coordinates_each) {
  coordinates.resize(rows * coordinates_each);
  ids.resize(rows);
  std::iota(ids.begin(), ids.end(), first);
  wrong.assign(rows, {});
  is_kept.assign(rows, true);
}

template <int D>
std::unique_ptr<Reader<D>> read_table(std::unique_ptr<Table> table, const Request& request) {
  return std::make_unique<TableReader<D>>(std::move(table), request.skip_bad);
}

template std::unique_ptr<Reader<2>> read_table<2>(std::unique_ptr<Table>, const Request&);
template std::unique_ptr<Reader<3>> read_table<3>(std::unique_ptr<Table>, const Request&);

}  // namespace silurus::readers
