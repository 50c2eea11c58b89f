// Iterations of Gaussian mixtures on few rows: pass, global step and bound, again and again. What
// they do is what vbfast/inference/em.py does, to the bit, as long as nothing out of the ordinary
// happens. Where it does, they leave the iteration to their caller.
#pragma once

#include <cstdint>
#include <vector>

#include "kernels/estep/tile.h"
#include "loops/gaussian_step.h"
#include "loops/looped_rows.h"

namespace vbfast::loops {

// When the bound has settled, see vbfast/inference/convergence.py.
struct Settling {
    double tolerance;
    double weight_of_tolerance;  // heavier rows have a larger threshold, in proportion; infinity
    double small;                // the part of all change below which a change may be small
    double previous_bound;       // before the first; -infinity for a new start
};

// What is out of the ordinary, beside what fails.
struct Ordinary {
    double negligible;  // how far below a row's evidence a component's offset is not
    double tolerated;   // for linalg::second_moments_cancel
    double reach;
};

struct IterationsEnd {
    bool settled;
    bool left;             // the next iteration is the caller's
    estep::TileSums sums;  // of the last pass that led to a bound
};

// Iterates up to `most` times, and adds the bound of each iteration to `bounds`, which has those
// before. `sums` are those of the last of them. `rows.request` is that of a posterior pass with the
// moments of the step.
IterationsEnd iterate_gaussians(const LoopedRows& rows, GaussianStep& step,
                                const Settling& settling, const Ordinary& ordinary,
                                std::int64_t most, const estep::TileSums& sums,
                                std::vector<double>& bounds);

}  // namespace vbfast::loops
