// The nearest of many centres: the local step of k-means.
//
// In: tile.features with squared norms, and means of stride padded_features.
// Out: tile.label, tile.row_scale (the weights of the rows), labels and the tile's sums.
//
// argmin_k |x - m_k|^2 is argmax_k of x m_k - |m_k|^2 / 2, one multiplication and addition a
// feature.
//
// Error: a score is off by about n_features epsilon |x| |m_k|, both from the origin. |x - m_k|^2
// would be off by a part of its own size, which may be less. estep/packing.cpp chooses this step
// only where all centres lie around the origin.
//
// Blocking: distance_components times row_vectors scores stay in registers; only the best score of
// a row and its component go through memory, once a block. Of equal scores the first one stays.

template <class T, int n>
inline void nearest_block(const Model<T>& model, const T* x, std::int64_t k, T* best, T* label) {
    using V = Lanes<T>;
    constexpr int G = group_rows<T>, W = V::width, RV = Blocking::row_vectors;
    V score[n][RV];
    for (int i = 0; i < n; ++i)
        for (int v = 0; v < RV; ++v) score[i][v] = V::zero() - V::set(model.half_norm[k + i]);
    const T* means = model.means + k * model.padded_features;
    for (std::int64_t d = 0; d < model.n_features; ++d) {
        V xd[RV];
        for (int v = 0; v < RV; ++v) xd[v] = V::load(x + d * G + v * W);
        for (int i = 0; i < n; ++i) {
            const V m = V::set(means[i * model.padded_features + d]);
            for (int v = 0; v < RV; ++v) score[i][v] = fma(xd[v], m, score[i][v]);
        }
    }
    for (int v = 0; v < RV; ++v) {
        V highest = V::load(best + v * W), name = V::load(label + v * W);
        for (int i = 0; i < n; ++i) {
            name = V::select(less(highest, score[i][v]), V::set(static_cast<T>(k + i)), name);
            highest = max(score[i][v], highest);
        }
        highest.store(best + v * W);
        name.store(label + v * W);
    }
}

// Fills tile.row_max with the best scores, and `label` with their components as numbers of type T.
template <class T>
void nearest_scores(const Model<T>& model, Tile<T>& tile, T* label) {
    constexpr int G = group_rows<T>, n = Blocking::distance_components;
    const std::int64_t D = model.n_features, K = model.n_components;
    for (std::int64_t i = 0; i < group_count(tile) * G; ++i) {
        tile.row_max[i] = -static_cast<T>(__builtin_inf());
        label[i] = T(0);
    }
    const std::int64_t step = parameter_block(static_cast<std::int64_t>(sizeof(T)) * (D + 1));
    for (std::int64_t first = 0; first < K; first += step) {
        if (stops(tile)) return;
        const std::int64_t last = first + step < K ? first + step : K;
        for (std::int64_t g = 0; g < group_count(tile); ++g) {
            const T* x = tile.features + g * (D + 2) * G;
            std::int64_t k = first;
            for (; k + n <= last; k += n)
                nearest_block<T, n>(model, x, k, tile.row_max + g * G, label + g * G);
            for (; k < last; ++k)
                nearest_block<T, 1>(model, x, k, tile.row_max + g * G, label + g * G);
        }
    }
}

// Fills tile.label, tile.row_scale and the sums.
template <class T>
void nearest_step(const Model<T>& model, Tile<T>& tile) {
    constexpr int G = group_rows<T>;
    const std::int64_t D = model.n_features;
    T* label = tile.row_scale;  // until labels are final
    nearest_scores(model, tile, label);
    if (stops(tile)) return;
    for (std::int64_t i = 0; i < tile.n_rows; ++i) {
        tile.label[i] = static_cast<std::int32_t>(label[i]);
        if (tile.out_labels) tile.out_labels[i] = tile.label[i];
        const double norm =
            static_cast<double>(tile.features[i / G * (D + 2) * G + (D + 1) * G + i % G]);
        const double distance = norm - 2 * static_cast<double>(tile.row_max[i]);
        const double w = row_weight(tile, i);
        tile.sums.weight += w;
        if (w != 0)
            tile.sums.expected_log_joint +=
                w * (static_cast<double>(model.offset[0]) -
                     static_cast<double>(model.half_precision[0]) * (distance > 0 ? distance : 0));
        tile.row_scale[i] = tile.row_weight[i];
    }
}
