// Which components the rows of a block are evaluated under, and which of them they keep.
#pragma once

#include <cstdint>
#include <vector>

#include "kernels/estep/candidates.h"

namespace vbfast::estep {

// Components, each with the rows of a block that it is for, in the order in which they came.
class RowMasks {
  public:
    explicit RowMasks(std::int64_t n_components)
        : place_(static_cast<std::size_t>(n_components), -1) {}

    void clear() {
        for (const std::int32_t k : components_) place_[static_cast<std::size_t>(k)] = -1;
        components_.clear();
        masks_.clear();
    }
    void add(std::int32_t component, std::uint64_t rows) {
        std::int32_t& place = place_[static_cast<std::size_t>(component)];
        if (place < 0) {
            place = static_cast<std::int32_t>(components_.size());
            components_.push_back(component);
            masks_.push_back(rows);
        } else {
            masks_[static_cast<std::size_t>(place)] |= rows;
        }
    }
    const std::vector<std::int32_t>& components() const { return components_; }
    const std::vector<std::uint64_t>& masks() const { return masks_; }

  private:
    std::vector<std::int32_t> place_;  // of every component of the mixture, or -1
    std::vector<std::int32_t> components_;
    std::vector<std::uint64_t> masks_;
};

// What a search goes by.
struct SearchRules {
    std::int64_t n_kept;
    std::int64_t n_neighbors;
    std::int64_t n_random;
    std::uint64_t key;               // of the random components
    const std::int32_t* neighbors;   // (n_components, n_neighbors), -1 for none; or null
    const std::int32_t* candidates;  // that all rows have, beside those that they keep
    std::int64_t n_candidates;
    // Beside neighbours, component k has the members cell_begin[k] to cell_begin[k + 1] - 1 of
    // cells; null for none.
    const std::int64_t* cell_begin;
    const std::int32_t* cell_members;
};

// A number that depends on all bits of two others (Steele, Lea and Flood 2014, splitmix).
std::uint64_t mixed_bits(std::uint64_t key, std::uint64_t counter);

// The search of one block of rows at a time.
template <class T>
class CandidateLists {
  public:
    CandidateLists(std::int64_t n_components, const SearchRules& rules);

    // Lists what rows are evaluated under: what they keep, neighbours of that, and components drawn
    // by the number of the row. `kept` is (., n_kept), of which row `index[i]` is row i's;
    // `first_row` is added to the index in the number of a row.
    void list(const std::int32_t* kept, const std::int32_t* index, std::int64_t n_rows,
              std::int64_t first_row);

    // The pairs of a row and a component, by component; without rows and scratch.
    PairBlock<T> pairs();

    // From the places of a row's best components to their numbers, (n_kept, candidate_rows). Where
    // fewer were possible, components that the row has kept fill the places; -1 for none.
    void name(const T* places, const std::int32_t* kept, const std::int32_t* index,
              std::int64_t n_rows, std::int32_t* components) const;

  private:
    const std::int64_t n_components_;
    const SearchRules rules_;
    RowMasks members_, candidates_;
    std::vector<std::int32_t> first_;
    std::vector<std::uint8_t> row_;  // with room for more pairs than there are
    std::vector<T> log_joint_;
};

}  // namespace vbfast::estep
