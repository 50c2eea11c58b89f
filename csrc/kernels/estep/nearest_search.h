// How k-means finds the nearest centres of rows without all distances. Plain data, as table.h asks.
//
// Bounds are distances times `scale`, a power of two, rounded to float away from the number that
// they bound. A distance is left out only where its bound is beyond that of the nearest centre by
// more than what rounding can do to either: labels are those of the plain pass, to the bit.
#pragma once

#include <cstdint>

#include "tuning.h"

namespace vbfast::estep {

// All centres in blocks of such as are close to each other, in the layout of the kernels. Behind
// the blocks of all centres come blocks of one centre of each.
template <class T>
struct CentreBlocks {
    std::int64_t n_blocks;
    std::int64_t n_coarse;      // blocks of one centre a block
    const T* means;             // (all blocks, n_features, block_centres), minus the origin
    const T* centres;           // likewise, as Model has them; null where all are near
    const T* centres_low;       // likewise; null in float64
    const T* half_norm;         // (all blocks, block_centres): infinity where there is no centre
    const T* offset;            // likewise: -infinity where there is no centre, else zero
    const T* name;              // likewise: the number of the centre
    const T* near;              // likewise: one if plain passes take it for near, else zero
    const std::int32_t* block;  // (n_components,): the block of each centre
    const float* gap;           // (n_components, n_blocks): lower bounds of the distances from a
                                // centre to the others of a block; null where they are not known
    const float* nearest_low;   // (n_components,): bounds of the distance to the nearest other
    const float* nearest_high;  // centre
    const float* shift;         // (n_components,): upper bounds of the ways that centres have
                                // gone since the last pass
    std::int64_t n_groups;
    std::int64_t group[tuning::most_groups + 1];  // where the blocks of a group begin and end
    float group_shift[tuning::most_groups];       // the longest way in a group
    double scale;
    // Squares of distances are off by at most slack (reach + distance)^2, where reach is twice the
    // largest norm of a centre.
    double slack;
    double reach;
    float certain_slack;  // for Certain, with scaled distances
    float certain_reach;
    float farthest;
};

// A row whose label is open, with what it has met so far.
template <class T>
struct OpenRow {
    T norm;               // squared, minus the origin
    T best;               // the best score or log-joint,
    std::int32_t name;    // the centre that has it,
    std::int32_t pivot;   // and the first one that had
    std::int64_t own;     // the block of that,
    std::int64_t holder;  // and the group of the one that has it now
    float upper;          // of the distance to the first one
    float radius;
    bool bounded;
    bool tie;
    T lanes[3 * tuning::block_centres];  // best, second and name of the block of the first one
};

// Rows of a block with what is known of them.
template <class T>
struct RowRange {
    const char* rows;
    std::int64_t row_stride;  // bytes
    std::int64_t feature_stride;
    std::int64_t n_rows;
    const double* weights;  // (n_rows,) or null
    std::int32_t* label;    // (n_rows,): the nearest centre at the last pass, or -1
    // (n_rows,): upper bounds of the distance to it, infinity for a row without bounds, and for
    // each group, at a stride, lower bounds of that to the other centres of the group.
    float* upper;
    float* lower;
    std::int64_t lower_stride;
    bool bounded;  // whether rows have bounds
    T* log_joint;  // (n_rows,): that of the nearest centre, or null

    // Scratch and results of search_step.
    std::int32_t* open;    // (n_rows,): rows whose label is open,
    std::int32_t* plain;   // and those that all distances are wanted of
    std::uint8_t* flags;   // (n_rows,)
    float* least;          // (n_rows,): the least of the lower bounds
    std::int64_t* listed;  // (n_blocks,)
    OpenRow<T>* batch;     // (search_batch,)
    T* row;                // (search_batch, 2 n_features)
    std::int64_t n_plain;
    std::int64_t n_met;       // blocks that rows have met,
    std::int64_t n_searched;  // and how often they were searched for the nearest centre
};

}  // namespace vbfast::estep
