// Which components are near one another, learned from the log-joints that a search evaluates.
#pragma once

#include <cstdint>
#include <vector>

namespace vbfast::estep {

// The neighbours of a component are those under which the rows that it is best for are least
// unlikely: with the smallest mean of l_nc - l_nk over the rows that were evaluated under both
// (Salwig et al. 2025, eq. 17, with the log-joint in place of the density). A component is its own
// first neighbour.
class NeighborGraph {
  public:
    NeighborGraph(std::int64_t n_components, std::int64_t n_neighbors);

    // The sum over `count` rows of the differences of component k.
    struct Difference {
        std::int32_t component;
        std::int32_t count;
        double sum;
    };

    // Learns of the rows that component c is best for, in addition to what was learned of others.
    // Different components may be learned of at the same time. `all` is used up.
    void learn(std::int32_t c, std::vector<Difference>& all);

    // Writes what was learned, (n_components, n_neighbors) each: the nearest components, of how
    // many rows, and the sums of their differences. Nothing is written where there is no such
    // component.
    void write(std::int32_t* components, std::int64_t* counts, double* sums) const;

  private:
    const std::int64_t n_neighbors_;
    std::vector<Difference> learned_;  // (n_components, n_neighbors), component -1 for none
};

// The place of every component in an order that has neighbours close together: that in which a walk
// from the first component meets them, nearest neighbours first. `neighbors` may be null.
std::vector<std::int32_t> places_by_nearness(const std::int32_t* neighbors,
                                             std::int64_t n_components, std::int64_t n_neighbors);

// Sums of differences by component.
class DifferenceSums {
  public:
    explicit DifferenceSums(std::int64_t n_components)
        : place_(static_cast<std::size_t>(n_components), -1) {}
    void add(std::int32_t component, std::int32_t count, double sum) {
        std::int32_t& place = place_[static_cast<std::size_t>(component)];
        if (place < 0) {
            place = static_cast<std::int32_t>(sums_.size());
            sums_.push_back({component, count, sum});
        } else {
            sums_[static_cast<std::size_t>(place)].count += count;
            sums_[static_cast<std::size_t>(place)].sum += sum;
        }
    }
    std::vector<NeighborGraph::Difference>& sums() { return sums_; }
    void clear() {
        for (const auto& one : sums_) place_[static_cast<std::size_t>(one.component)] = -1;
        sums_.clear();
    }

  private:
    std::vector<std::int32_t> place_;
    std::vector<NeighborGraph::Difference> sums_;
};

}  // namespace vbfast::estep
