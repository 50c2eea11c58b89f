// Sufficient statistics of a few components, each product of features taken in registers: a panel
// of products (dense_moments-inl.h) would meet too few components to be worth its place.
//
// In: tile.joint with tile.row_scale, and tile.features. No square overflows.
// Out: as the dense product has them; the scatter of rows as total_scatter-inl.h has it.
//
// Error: that of the dense product. A responsibility is multiplied by its row's scale first, and is
// rounded once more for that.
//
// Blocking: the weighted responsibilities of a block of components stay in L1 while the features of
// the rows pass. Features by themselves and their squares are summed for all components of the
// block at once. Of a triangle of products a component takes blocks of triangle_features rows by
// triangle_columns columns, and the triangles on the diagonal whole, so that none is summed twice.

// Reduces n vectors across their lanes; `sums` has room for whole calls of add_sums.
template <int n, class T>
constexpr int padded_sums = (n + Lanes<T>::sums - 1) / Lanes<T>::sums * Lanes<T>::sums;

// Sums over rows of w_k x_i, and with squares of w_k x_i^2, for n components and f features.
template <class T, int n, int f, bool squares>
inline void weighted_features(std::int64_t n_groups, const T* x, std::int64_t stride, const T* w,
                              double* sums) {
    using V = Lanes<T>;
    constexpr int G = group_rows<T>, W = V::width, size = padded_sums<n * f*(squares ? 2 : 1), T>;
    V acc[size];
    for (V& a : acc) a = V::zero();
    for (std::int64_t g = 0; g < n_groups; ++g, x += stride, w += n * G)
        for (int v = 0; v < Blocking::row_vectors; ++v) {
            V r[n];
            for (int k = 0; k < n; ++k) r[k] = V::load(w + k * G + v * W);
            for (int i = 0; i < f; ++i) {
                const V xi = V::load(x + i * G + v * W);
                for (int k = 0; k < n; ++k) acc[k * f + i] = fma(r[k], xi, acc[k * f + i]);
                if constexpr (squares) {
                    const V square = xi * xi;
                    for (int k = 0; k < n; ++k)
                        acc[(n + k) * f + i] = fma(r[k], square, acc[(n + k) * f + i]);
                }
            }
        }
    for (int i = 0; i < size; i += V::sums) V::add_sums(acc + i, sums + i);
}

// Sums over rows of w x_i x_j for N features, j <= i, row by row.
template <class T, int N>
inline void diagonal_triangle(std::int64_t n_groups, const T* x, std::int64_t stride, const T* w,
                              std::int64_t w_stride, double* sums) {
    using V = Lanes<T>;
    constexpr int G = group_rows<T>, W = V::width, size = padded_sums<N*(N + 1) / 2, T>;
    V acc[size];
    for (V& a : acc) a = V::zero();
    for (std::int64_t g = 0; g < n_groups; ++g, x += stride, w += w_stride)
        for (int v = 0; v < Blocking::row_vectors; ++v) {
            const V r = V::load(w + v * W);
            V xs[N];
            for (int i = 0; i < N; ++i) xs[i] = V::load(x + i * G + v * W);
            for (int j = 0; j < N; ++j) {
                const V left = r * xs[j];
                for (int i = j; i < N; ++i)
                    acc[i * (i + 1) / 2 + j] = fma(left, xs[i], acc[i * (i + 1) / 2 + j]);
            }
        }
    for (int i = 0; i < size; i += V::sums) V::add_sums(acc + i, sums + i);
}

// Sums over rows of w x_i y_j for R features x and C features y.
template <class T, int R, int C>
inline void rectangle(std::int64_t n_groups, const T* x, const T* y, std::int64_t stride,
                      const T* w, std::int64_t w_stride, double* sums) {
    using V = Lanes<T>;
    constexpr int G = group_rows<T>, W = V::width, size = padded_sums<R * C, T>;
    V acc[size];
    for (V& a : acc) a = V::zero();
    for (std::int64_t g = 0; g < n_groups; ++g, x += stride, y += stride, w += w_stride)
        for (int v = 0; v < Blocking::row_vectors; ++v) {
            const V r = V::load(w + v * W);
            V left[C];
            for (int j = 0; j < C; ++j) left[j] = r * V::load(y + j * G + v * W);
            for (int i = 0; i < R; ++i) {
                const V xi = V::load(x + i * G + v * W);
                for (int j = 0; j < C; ++j) acc[i * C + j] = fma(left[j], xi, acc[i * C + j]);
            }
        }
    for (int i = 0; i < size; i += V::sums) V::add_sums(acc + i, sums + i);
}

// put(k, i, j, sum of w_k x_i x_j) for `n` components and the lower triangle of n_features. The
// weights are groups of (n, group rows).
template <class T, class Put>
inline void weighted_triangles(std::int64_t n_groups, const T* x, std::int64_t stride,
                               std::int64_t n_features, const T* w, std::int64_t n,
                               const Put& put) {
    constexpr int G = group_rows<T>;
    constexpr int R = Blocking::triangle_features, C = Blocking::triangle_columns;
    static_assert(R % C == 0, "columns left of the diagonal come in whole blocks");
    for (std::int64_t i0 = 0; i0 < n_features; i0 += R) {
        const std::int64_t left = n_features - i0 < R ? n_features - i0 : R;
        with_count<1, R>(left, [&](auto rows) VBFAST_INLINED {
            constexpr int N = rows.value;
            for (std::int64_t k = 0; k < n; ++k) {
                double sums[padded_sums<N*(N + 1) / 2, T>] = {};
                diagonal_triangle<T, N>(n_groups, x + i0 * G, stride, w + k * G, n * G, sums);
                for (int i = 0; i < N; ++i)
                    for (int j = 0; j <= i; ++j) put(k, i0 + i, i0 + j, sums[i * (i + 1) / 2 + j]);
            }
            for (std::int64_t j0 = 0; j0 < i0; j0 += C)
                for (std::int64_t k = 0; k < n; ++k) {
                    double sums[padded_sums<N * C, T>] = {};
                    rectangle<T, N, C>(n_groups, x + i0 * G, x + j0 * G, stride, w + k * G, n * G,
                                       sums);
                    for (int i = 0; i < N; ++i)
                        for (int j = 0; j < C; ++j) put(k, i0 + i, j0 + j, sums[i * C + j]);
                }
        });
    }
}

// The moments of features e0 to e1 - 1 for a block of n components, `f` features at a time.
template <class T, int n, bool squares, class Put>
inline void feature_moments(std::int64_t n_groups, const T* x, std::int64_t stride, std::int64_t e0,
                            std::int64_t e1, const T* w, const Put& put) {
    constexpr int G = group_rows<T>;
    constexpr int f =
        Blocking::moment_components * Blocking::moment_features / (n * (squares ? 2 : 1));
    static_assert(f > 0, "a block has a feature");
    const auto some = [&](auto count, std::int64_t e) VBFAST_INLINED {
        constexpr int m = count.value;
        double sums[padded_sums<n * m*(squares ? 2 : 1), T>] = {};
        weighted_features<T, n, m, squares>(n_groups, x + e * G, stride, w, sums);
        for (int k = 0; k < n; ++k)
            for (int i = 0; i < m; ++i)
                put(k, e + i, sums[k * m + i], squares ? sums[(n + k) * m + i] : 0.0);
    };
    std::int64_t e = e0;
    for (; e + f <= e1; e += f) some(Count<f>(), e);
    if constexpr (f > 1)
        if (e < e1) with_count<1, f - 1>(e1 - e, [&](auto rest) VBFAST_INLINED { some(rest, e); });
}

// The moments of components k to k + n - 1, a block, of the groups from `start` on.
template <class T, int n>
void direct_block(const Model<T>& model, Tile<T>& tile, std::int64_t start, std::int64_t n_groups,
                  std::int64_t k, double* out) {
    using V = Lanes<T>;
    constexpr int G = group_rows<T>, F = Blocking::moment_features;
    constexpr int B = Blocking::moment_components;
    const std::int64_t D = model.n_features, stride = (D + 2) * G;
    T* const w = tile.panel;
    for (std::int64_t g = 0; g < n_groups; ++g)
        for (int i = 0; i < G; i += V::width) {
            const V scale = V::load(tile.row_scale + (start + g) * G + i);
            const T* joint = tile.joint + (start + g) * model.joint_stride + k * G + i;
            for (int c = 0; c < n; ++c)
                (V::load(joint + c * G) * scale).store(w + (g * n + c) * G + i);
        }
    const T* x = tile.features + start * stride;
    const auto add = [out](std::int64_t c, std::int64_t m, double sum) {
        out[m / F * F * B + c * F + m % F] += sum;
    };
    // The extended features are those of the row, one, and the squared norm.
    const auto add_feature = [&](std::int64_t c, std::int64_t e, double sum, double) {
        add(c, e < D ? 1 + e : (e == D ? 0 : 1 + D), sum);
    };
    const auto add_squares = [&](std::int64_t c, std::int64_t e, double sum, double square) {
        add(c, e < D ? 1 + e : 0, sum);
        if (e < D) add(c, 1 + D + e, square);
    };
    if (model.moments == Moments::diag || (model.moments == Moments::full && D == 1))
        feature_moments<T, n, true>(n_groups, x, stride, 0, D + 1, w, add_squares);
    else if (model.moments == Moments::full)
        weighted_triangles<T>(n_groups, x, stride, D + 1, w, n,
                              [&](std::int64_t c, std::int64_t i, std::int64_t j, double sum) {
                                  if (i < D)
                                      add(c, 1 + D + i * (i + 1) / 2 + j, sum);
                                  else
                                      add(c, j < D ? 1 + j : 0, sum);
                              });
    else
        feature_moments<T, n, false>(n_groups, x, stride, 0,
                                     D + (model.moments == Moments::spherical ? 2 : 1), w,
                                     add_feature);
}

template <class T>
void direct_moments(const Model<T>& model, Tile<T>& tile, std::int64_t first, std::int64_t last,
                    double* dense) {
    constexpr int B = Blocking::moment_components;
    constexpr std::int64_t step =
        Blocking::moment_row_bytes / (group_rows<T> * static_cast<std::int64_t>(sizeof(T)));
    const std::int64_t n_groups = group_count(tile);
    for (std::int64_t start = 0; start < n_groups; start += step) {
        const std::int64_t count = start + step < n_groups ? step : n_groups - start;
        for (std::int64_t k = first; k < last; k += B) {
            double* out = dense + k / B * model.dense_stride;
            with_count<1, B>(last - k, [&](auto n) VBFAST_INLINED {
                direct_block<T, n.value>(model, tile, start, count, k, out);
            });
        }
    }
}
