#include "estep/partition_sums.h"

#include <algorithm>
#include <chrono>
#include <stdexcept>
#include <string>
#include <utility>

namespace vbfast::estep {

PartitionSums::PartitionSums(Workspace& workspace, std::int64_t size, std::int64_t n_partitions,
                             std::int64_t open)
    : workspace_(workspace),
      size_(size),
      n_partitions_(n_partitions),
      open_(open),
      begun_(static_cast<std::size_t>(n_partitions), nullptr),
      ended_(static_cast<std::size_t>(n_partitions), false) {
    for (std::int64_t n = n_partitions;; n = (n + 1) / 2) {
        levels_.emplace_back(static_cast<std::size_t>(n));
        if (n <= 1) break;
    }
}

// A statistic that nobody uses, its contents undefined.
double* PartitionSums::free_one() {
    ++alive_;
    if (unused_.empty())
        return workspace_.partial(static_cast<std::size_t>(alive_ - 1),
                                  static_cast<std::size_t>(size_));
    double* sums = unused_.back();
    unused_.pop_back();
    return sums;
}

double* PartitionSums::enter(std::int64_t partition, runtime::Region* region, int worker) {
    std::unique_lock<std::mutex> lock(mutex_);
    if (ended_[static_cast<std::size_t>(partition)])
        throw std::invalid_argument("the rows of partition " + std::to_string(partition) +
                                    " have come already");
    double*& begun = begun_[static_cast<std::size_t>(partition)];
    if (begun != nullptr) {
        ++held_;
        return std::exchange(begun, nullptr);
    }
    // Where no task has one, none will be released.
    while (region != nullptr && alive_ >= open_ && held_ > 0) {
        released_.wait_for(lock, std::chrono::milliseconds(10));
        lock.unlock();
        if (runtime::stop_requested(*region, worker)) return nullptr;
        lock.lock();
    }
    double* sums = free_one();
    ++held_;
    lock.unlock();
    std::fill(sums, sums + size_, 0.0);  // here, so that the pages are this thread's
    return sums;
}

void PartitionSums::leave(std::int64_t partition, double* sums, bool ended) {
    std::unique_lock<std::mutex> lock(mutex_);
    if (ended)
        end(partition, sums, lock);
    else
        begun_[static_cast<std::size_t>(partition)] = sums;
    --held_;
    released_.notify_all();
}

// Merges with neighbours that have ended.
void PartitionSums::end(std::int64_t partition, double* sums, std::unique_lock<std::mutex>& lock) {
    ended_[static_cast<std::size_t>(partition)] = true;
    std::int64_t index = partition;
    for (int level = 0;; ++level, index /= 2) {
        const auto width =
            static_cast<std::int64_t>(levels_[static_cast<std::size_t>(level)].size());
        if (width == 1) {
            node(level, 0) = {true, sums};
            return;
        }
        const std::int64_t neighbour = index ^ 1;
        if (neighbour >= width) continue;  // the last one has none
        if (!node(level, neighbour).ended) {
            node(level, index) = {true, sums};
            return;
        }
        double* other = node(level, neighbour).sums;
        if (sums == nullptr) std::swap(sums, other);
        if (other == nullptr) continue;
        lock.unlock();  // both are this task's alone, and a sum is the same in either order
        for (std::int64_t i = 0; i < size_; ++i) sums[i] += other[i];
        lock.lock();
        unused_.push_back(other);
        --alive_;
        released_.notify_all();
    }
}

double* PartitionSums::total() {
    std::unique_lock<std::mutex> lock(mutex_);
    for (std::int64_t p = 0; p < n_partitions_; ++p)
        if (!ended_[static_cast<std::size_t>(p)]) end(p, begun_[static_cast<std::size_t>(p)], lock);
    double*& sums = node(static_cast<int>(levels_.size()) - 1, 0).sums;
    if (sums == nullptr) {
        sums = free_one();
        std::fill(sums, sums + size_, 0.0);
    }
    return sums;
}

}  // namespace vbfast::estep
