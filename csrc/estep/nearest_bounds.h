// What passes of k-means over the same rows keep from one to the next.
#pragma once

#include <cstdint>
#include <vector>

namespace vbfast::estep {

// Labels of the rows and bounds of their distances to the centres, 56 bytes a row at most, and the
// centres that they are about. Of one precision and form of the rows; centres may be any.
class NearestBounds {
  public:
    explicit NearestBounds(std::int64_t n_rows) : n_rows_(n_rows) {}
    std::int64_t n_rows() const { return n_rows_; }

    std::vector<std::int32_t> label;  // (n_rows,), empty before the first pass
    std::vector<float> upper;         // (n_rows,) and, by group, (n_groups, n_rows): see
    std::vector<float> lower;         // kernels/estep/nearest_search.h
    bool labelled = false;            // whether all rows have labels,
    bool bounded = false;             // and bounds, for these centres
    std::vector<double> centres;
    std::vector<std::int32_t> order;  // of the centres, the close ones beside each other
    double scale = 1;
    double met = 1;  // part of all blocks that rows met in the last pass

  private:
    std::int64_t n_rows_;
};

}  // namespace vbfast::estep
