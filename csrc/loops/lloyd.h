// Lloyd's iterations of k-means (Lloyd 1982), see vbfast/inference/kmeans.py.
#pragma once

#include <cstdint>

#include "loops/looped_rows.h"

namespace vbfast::loops {

// How iterations ended.
struct LloydEnd {
    std::int64_t iterations;  // in which centres have moved
    bool rested;              // the last shifts were within the tolerance
    bool lost;                // a centre has no row: the caller has to say where it goes
    std::int64_t bad_row;     // the first row that is not finite, or -1
};

// Moves K centres (K, D) to the means of the rows closest to them, up to `max_iterations` times, or
// until the squares of their shifts sum to no more than the tolerance. Distances are in units of
// 1 / precision. `rows.request` is that of a hard pass with first moments; `bounds` may be null.
LloydEnd move_centres(const LoopedRows& rows, std::int64_t n_centres, std::int64_t n_features,
                      double precision, double tolerance, std::int64_t max_iterations,
                      estep::NearestBounds* bounds, double* centres);

}  // namespace vbfast::loops
