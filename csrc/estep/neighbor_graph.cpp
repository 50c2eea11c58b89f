#include "estep/neighbor_graph.h"

#include <algorithm>
#include <cmath>

namespace vbfast::estep {

NeighborGraph::NeighborGraph(std::int64_t n_components, std::int64_t n_neighbors)
    : n_neighbors_(n_neighbors),
      learned_(static_cast<std::size_t>(n_components * n_neighbors), Difference{-1, 0, 0.0}) {}

void NeighborGraph::learn(std::int32_t c, std::vector<Difference>& all) {
    Difference* own = learned_.data() + c * n_neighbors_;
    for (std::int64_t g = 0; g < n_neighbors_ && own[g].component >= 0; ++g) {
        const auto same = std::find_if(all.begin(), all.end(), [&](const Difference& other) {
            return other.component == own[g].component;
        });
        if (same == all.end()) {
            all.push_back(own[g]);
        } else {
            same->count += own[g].count;
            same->sum += own[g].sum;
        }
    }
    const auto mean = [c](const Difference& one) {
        // Itself first, and last what is impossible.
        if (one.component == c) return -HUGE_VAL;
        const double m = one.sum / one.count;
        return m < HUGE_VAL ? m : HUGE_VAL;
    };
    const auto nearer = [&](const Difference& a, const Difference& b) {
        const double first = mean(a), second = mean(b);
        return first < second || (first == second && a.component < b.component);
    };
    const auto kept = std::min(all.size(), static_cast<std::size_t>(n_neighbors_));
    std::partial_sort(all.begin(), all.begin() + static_cast<std::ptrdiff_t>(kept), all.end(),
                      nearer);
    std::copy_n(all.begin(), kept, own);
}

std::vector<std::int32_t> places_by_nearness(const std::int32_t* neighbors,
                                             std::int64_t n_components, std::int64_t n_neighbors) {
    std::vector<std::int32_t> place(static_cast<std::size_t>(n_components), -1), waiting;
    std::int32_t next = 0;
    for (std::int64_t start = 0; start < n_components; ++start) {
        waiting.push_back(static_cast<std::int32_t>(start));
        while (!waiting.empty()) {
            const std::int32_t k = waiting.back();
            waiting.pop_back();
            if (place[k] >= 0) continue;
            place[k] = next++;
            if (!neighbors) continue;
            const std::int32_t* near = neighbors + k * n_neighbors;
            for (std::int64_t g = n_neighbors - 1; g >= 0; --g)
                if (near[g] >= 0 && place[near[g]] < 0) waiting.push_back(near[g]);
        }
    }
    return place;
}

void NeighborGraph::write(std::int32_t* components, std::int64_t* counts, double* sums) const {
    for (std::size_t i = 0; i < learned_.size(); ++i) {
        if (learned_[i].component < 0) continue;
        components[i] = learned_[i].component;
        counts[i] = learned_[i].count;
        sums[i] = learned_[i].sum;
    }
}

}  // namespace vbfast::estep
