// The scatter of the rows of a tile about the origin, weighted by the mass of their
// responsibilities: what pooled moments need besides the first ones.
//
// In: tile.features, tile.row_weight and tile.row_scale of a posterior, which is zero for rows
// without responsibilities. Out: a triangle (triangle-inl.h), added to.
//
// Error: sums are in T over rows that fit L1, or over those of a panel of gathered rows, and
// float64 from there on.
//
// Blocking: few features are summed with rows in lanes, a row of the triangle times moment_features
// columns in registers. Many are summed as outer products of gathered rows, with columns in lanes,
// for which rows have to be transposed.

// Columns j0 to j0 + n - 1 of row i of the triangle, over n_groups groups of rows.
template <class T, int n>
inline void scatter_block(const T* x, std::int64_t stride, const T* mass, std::int64_t n_groups,
                          std::int64_t i, std::int64_t j0, double* out) {
    using V = Lanes<T>;
    constexpr int G = group_rows<T>, W = V::width;
    constexpr int padded = (n + V::sums - 1) / V::sums * V::sums;
    V acc[padded];
    for (V& a : acc) a = V::zero();
    for (std::int64_t g = 0; g < n_groups; ++g, x += stride, mass += G)
        for (int v = 0; v < Blocking::row_vectors; ++v) {
            const V left = V::load(mass + v * W) * V::load(x + i * G + v * W);
            for (int j = 0; j < n; ++j)
                acc[j] = fma(left, V::load(x + (j0 + j) * G + v * W), acc[j]);
        }
    double sums[padded] = {};
    for (int j = 0; j < padded; j += V::sums) V::add_sums(acc + j, sums + j);
    for (int j = 0; j < n; ++j) out[j] += sums[j];
}

template <class T>
void scatter_in_lanes(const Model<T>& model, Tile<T>& tile, double* pooled) {
    using V = Lanes<T>;
    constexpr int G = group_rows<T>, F = Blocking::moment_features;
    const std::int64_t D = model.n_features, n_groups = group_count(tile);
    T* const mass = tile.gathered_weight;
    for (std::int64_t n = 0; n < n_groups * G; n += V::width)
        V::select(less(V::zero(), V::load(tile.row_scale + n)), V::load(tile.row_weight + n),
                  V::zero())
            .store(mass + n);
    const std::int64_t stride = (D + 2) * G;
    const std::int64_t fitting =
        tuning::dense_panel / (stride * static_cast<std::int64_t>(sizeof(T)));
    const std::int64_t step = fitting > 1 ? fitting : 1;
    for (std::int64_t g = 0; g < n_groups; g += step) {
        const std::int64_t count = n_groups - g < step ? n_groups - g : step;
        const T* x = tile.features + g * stride;
        for (std::int64_t i = 0; i < D; ++i) {
            double* out = pooled + triangle_index(i, 0);
            std::int64_t j = 0;
            for (; j + F <= i + 1; j += F)
                scatter_block<T, F>(x, stride, mass + g * G, count, i, j, out + j);
            if (j <= i)
                with_count<1, F - 1>(i + 1 - j, [&](auto columns) VBFAST_INLINED {
                    scatter_block<T, columns.value>(x, stride, mass + g * G, count, i, j, out + j);
                });
        }
    }
}

template <class T>
void scatter_by_rows(const Model<T>& model, Tile<T>& tile, double* pooled) {
    std::int64_t count = 0;
    for (std::int64_t n = 0; n < tile.n_rows; ++n) {
        const T mass = tile.row_scale[n] > T(0) ? tile.row_weight[n] : T(0);
        if (!(mass > T(0))) continue;
        tile.gathered[count] = static_cast<std::int32_t>(n);
        tile.gathered_weight[count++] = mass;
    }
    for (std::int64_t d = 0; d < model.padded_features; ++d) tile.group_scratch[d] = T(0);
    load_row_major(tile, model);
    gathered_moments<T>(model, tile, count, tile.group_scratch, nullptr, pooled);
}

template <class T>
void total_scatter(const Model<T>& model, Tile<T>& tile, double* pooled) {
    if (model.n_features <= tuning::largest_scatter_in_lanes && !tile.squares_overflow)
        scatter_in_lanes(model, tile, pooled);
    else
        scatter_by_rows(model, tile, pooled);
}
