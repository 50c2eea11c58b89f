// Partial statistics, one for every partition that is being summed, merged while a pass runs.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <vector>

#include "estep/workspace.h"
#include "runtime/threads.h"

namespace vbfast::estep {

// The sums of partitions are merged in a tree that depends on their number alone: neighbours, then
// neighbouring sums, and so on, as vbfast.merge does. Whoever ends the second of two neighbours
// adds it to the first, so that few partial statistics are alive: one a thread, and a logarithm of
// those that wait for a neighbour.
class PartitionSums {
  public:
    // Statistics of `size` doubles. At most `open` of them are alive, or as many as the pass cannot
    // go on without.
    PartitionSums(Workspace& workspace, std::int64_t size, std::int64_t n_partitions,
                  std::int64_t open);

    // The sums of a partition so far, zero at first. Within a region it waits while too many are
    // alive, and returns null where the region has ended meanwhile. To be given back by `leave`.
    double* enter(std::int64_t partition, runtime::Region* region, int worker);

    // `ended`: no more rows of the partition come.
    void leave(std::int64_t partition, double* sums, bool ended);

    // The sums of all partitions.
    double* total();

  private:
    // Some neighbouring partitions: the sums of all, or null for none, once all have ended.
    struct Node {
        bool ended = false;
        double* sums = nullptr;
    };

    Node& node(int level, std::int64_t index) {
        return levels_[static_cast<std::size_t>(level)][static_cast<std::size_t>(index)];
    }
    double* free_one();
    void end(std::int64_t partition, double* sums, std::unique_lock<std::mutex>& lock);

    Workspace& workspace_;
    const std::int64_t size_, n_partitions_, open_;
    std::mutex mutex_;  // guards what follows
    std::condition_variable released_;
    std::vector<double*> begun_;  // sums of partitions whose rows have not all come
    std::vector<bool> ended_;
    std::vector<double*> unused_;
    std::int64_t alive_ = 0, held_ = 0;  // statistics in use; those among them that a task has
    std::vector<std::vector<Node>> levels_;
};

}  // namespace vbfast::estep
