#include "server/shard.h"

#include <utility>

#include "common/units.h"
#include "server/limits.h"

namespace silurus::server {
namespace {

std::uint64_t staging_bytes(std::uint64_t memory_budget_bytes) {
  return static_cast<std::uint64_t>(static_cast<double>(memory_budget_bytes) * kLoadStagingShare);
}

}  // namespace

template <int D>
Shard<D>::Shard(const ShardOptions& options, std::unique_ptr<rtree::Tree<D>> tree,
                Executor& executor)
    : options_(options),
      tree_(std::move(tree)),
      executor_(executor),
      writer_(*tree_),
      load_slot_(staging_bytes(options.memory_budget_bytes)) {}

template <int D>
Result<std::unique_ptr<Shard<D>>> Shard<D>::create(const ShardOptions& options,
                                                   rtree::SlabSource& slabs, const Clock& clock,
                                                   Executor& executor) {
  auto tree = rtree::Tree<D>::create(
      {.grace = options.grace, .memory_budget_bytes = options.memory_budget_bytes}, slabs, clock);
  if (!tree) return fail(tree.error());
  return std::unique_ptr<Shard>(new Shard(options, std::move(*tree), executor));
}

template <int D>
void Shard<D>::build(LoadJob<D>& job, std::function<void()> done) {
  executor_.run([this, &job, done = std::move(done)] {
    job.options.threads = options_.build_threads;
    job.version = tree_->bulk_load(job.load->take_entries(), job.options);
    job.entries = tree_->snapshot().size();
    writer_.release();
    job.load.reset();  // gives the slot back: from here on others may load and write
    done();
  });
}

template <int D>
Result<rtree::Version> Shard<D>::load(std::vector<rtree::Entry<D>> entries) {
  const std::uint64_t bytes = entries.size() * sizeof(rtree::Entry<D>);
  if (bytes > load_slot_.staging_limit_bytes()) {
    return fail(ErrorCode::kOutOfMemory,
                std::to_string(entries.size()) + " entries (" + format_size(bytes) +
                    ") are more than a memory budget of " +
                    format_size(options_.memory_budget_bytes) + " can load: raise --memory");
  }
  return tree_->bulk_load(std::move(entries), {.threads = options_.build_threads});
}

template class Shard<2>;
template class Shard<3>;

}  // namespace silurus::server
