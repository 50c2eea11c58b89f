// The rows of a pass, from Python.
#pragma once

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>

#include <cstdint>
#include <vector>

#include "estep/row_block.h"
#include "python/array_checks.h"
#include "python/estep_names.h"
#include "python/pass_arguments.h"

namespace vbfast::python {

// Reads the blocks of a pass, checks that they fit it, and keeps their arrays until they have run.
class BlockReader {
  public:
    BlockReader(std::int64_t n_components, std::int64_t n_features, bool single)
        : n_components_(n_components), n_features_(n_features), dtype_(precision(single)) {}

    // (start, rows, weights or None, given or None[, closest, lowered or None])
    estep::RowBlock read(const py::tuple& item) {
        estep::RowBlock block{};
        block.start = item[0].cast<std::int64_t>();
        const py::array rows = keep(item[1].cast<py::array>());
        check_shape(rows, "rows", {any_length, n_features_});
        check_dtype(rows, "rows", dtype_);
        if (!(rows.flags() & py::detail::npy_api::NPY_ARRAY_ALIGNED_))
            throw py::value_error("rows must be aligned");
        block.rows = rows.data();
        block.n_rows = rows.shape(0);
        block.row_stride = rows.strides(0);
        block.feature_stride = rows.strides(1);
        if (!item[2].is_none()) {
            const py::array weights = keep(item[2].cast<py::array>());
            check_packed(weights, "weights", {block.n_rows}, py::dtype::of<double>());
            block.weights = static_cast<const double*>(weights.data());
        }
        if (!item[3].is_none()) read_given(keep(item[3].cast<py::array>()), block);
        if (item.size() > 4) read_distances(item, block);
        return block;
    }

    std::vector<estep::RowBlock> read(const py::list& items) {
        std::vector<estep::RowBlock> blocks;
        for (const py::handle item : items) blocks.push_back(read(item.cast<py::tuple>()));
        return blocks;
    }

  private:
    py::array keep(const py::array& a) {
        kept_.push_back(a);
        return a;
    }

    void read_given(const py::array& given, estep::RowBlock& block) const {
        if (given.ndim() != 1) {
            check_packed(given, "responsibilities", {block.n_rows, n_components_}, dtype_);
            block.given = given.data();
            return;
        }
        block.given_label = read_labels(given, block.n_rows, n_components_);
    }

    void read_distances(const py::tuple& item, estep::RowBlock& block) {
        const py::array closest = keep(item[4].cast<py::array>());
        check_packed(closest, "closest", {block.n_rows}, dtype_);
        block.closest = closest.data();
        if (item[5].is_none()) return;
        py::array lowered = keep(item[5].cast<py::array>());
        check_shape(lowered, "lowered", {n_components_, block.n_rows});
        check_dtype(lowered, "lowered", dtype_);
        if ((block.n_rows > 1 && lowered.strides(1) != lowered.itemsize()) ||
            lowered.strides(0) % lowered.itemsize() != 0)
            throw py::value_error("the rows of lowered must be contiguous");
        if (!lowered.writeable()) throw py::value_error("lowered must be writable");
        block.lowered = lowered.mutable_data();
        block.lowered_stride = lowered.strides(0) / lowered.itemsize();
    }

    const std::int64_t n_components_, n_features_;
    const py::dtype dtype_;
    std::vector<py::array> kept_;
};

}  // namespace vbfast::python
