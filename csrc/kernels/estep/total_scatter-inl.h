// The scatter of the rows of a tile about the origin, weighted by the mass of their
// responsibilities: what pooled moments need besides the first ones.
//
// In: tile.features, tile.row_weight and tile.row_scale of a posterior, which is zero for rows
// without responsibilities. Out: a triangle (triangle-inl.h), added to.
//
// Error: sums are in T over moment_row_bytes of rows, or over those of a panel of gathered rows,
// and float64 from there on.
//
// Blocking: few features are summed with rows in lanes (direct_moments-inl.h). Many are summed as
// outer products of gathered rows, with columns in lanes, for which rows have to be transposed.

template <class T>
void scatter_in_lanes(const Model<T>& model, Tile<T>& tile, double* pooled) {
    using V = Lanes<T>;
    constexpr int G = group_rows<T>;
    constexpr std::int64_t step =
        Blocking::moment_row_bytes / (G * static_cast<std::int64_t>(sizeof(T)));
    const std::int64_t D = model.n_features, n_groups = group_count(tile), stride = (D + 2) * G;
    T* const mass = tile.gathered_weight;
    for (std::int64_t n = 0; n < n_groups * G; n += V::width)
        V::select(less(V::zero(), V::load(tile.row_scale + n)), V::load(tile.row_weight + n),
                  V::zero())
            .store(mass + n);
    for (std::int64_t g = 0; g < n_groups; g += step)
        weighted_triangles<T>(n_groups - g < step ? n_groups - g : step, tile.features + g * stride,
                              stride, D, mass + g * G, 1,
                              [pooled](std::int64_t, std::int64_t i, std::int64_t j, double sum) {
                                  pooled[triangle_index(i, j)] += sum;
                              });
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
