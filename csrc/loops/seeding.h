// Greedy k-means++ (Arthur and Vassilvitskii 2007, section 5), see vbfast/inference/kmeans.py.
#pragma once

#include <cstdint>
#include <vector>

#include "loops/looped_rows.h"

namespace vbfast::loops {

struct Seeds {
    std::vector<std::int64_t> rows;  // the chosen ones
    double separation;     // the least squared distance of one to those before, zero left out
    std::int64_t bad_row;  // the first row that is not finite, or -1: nothing else counts then
};

// Chooses `n_centres` rows as far from each other: the first by the weights, and each other one
// as the best of `n_trials` that are drawn by their squared distances. Draws invert cumulative sums
// at `quantiles`, 1 + (n_centres - 1) n_trials of them. Rows are blocked for passes over one
// candidate and over n_trials; they are in one block.
Seeds choose_seeds(const LoopedRows& for_one, const LoopedRows& for_trials, std::int64_t n_features,
                   std::int64_t n_centres, std::int64_t n_trials, const double* quantiles);

}  // namespace vbfast::loops
