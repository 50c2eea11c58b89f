// Sufficient statistics of many components as one matrix product: C[k][m] += sum_n r_nk Phi_nm.
//
// In: tile.joint with tile.row_scale, and tile.features. Phi_nm is the product of two extended
// features (tile-inl.h), by moments: 1, x_d, x_d^2, |x|^2 or x_i x_j, all about the origin.
// Out: C, in blocks of moment_components components, in each the blocks of moment_features moments,
// in each moment_components x moment_features doubles, moment fastest. The last blocks are padded.
//
// Error: sums are in T over moment_row_bytes of rows, a lane each, and float64 from there on. A
// moment about a near component's mean, found from one about the origin, loses its distance from
// there in standard deviations, squared, times epsilon (model.h).
//
// Blocking: rows are in lanes on both sides, so neither operand is transposed. A block of dot
// products accumulates in registers and is then reduced across lanes. A panel of Phi, already times
// w_n / sum_k, stays in L1 while all components pass over it; a block of components meets the whole
// panel before the next one is fetched from L2.

template <class T, int n_components, int n_features>
inline void moment_block(std::int64_t n_groups, const T* joint, std::int64_t joint_stride,
                         const T* panel, std::int64_t panel_stride, double* out) {
    using V = Lanes<T>;
    constexpr int G = group_rows<T>, W = V::width, F = Blocking::moment_features;
    V acc[Blocking::moment_components * F];
    for (V& a : acc) a = V::zero();
    for (std::int64_t g = 0; g < n_groups; ++g, joint += joint_stride, panel += panel_stride)
        for (int v = 0; v < Blocking::row_vectors; ++v) {
            V phi[n_features];
            for (int f = 0; f < n_features; ++f) phi[f] = V::load(panel + f * G + v * W);
            for (int k = 0; k < n_components; ++k) {
                const V r = V::load(joint + k * G + v * W);
                for (int f = 0; f < n_features; ++f)
                    acc[k * F + f] = fma(r, phi[f], acc[k * F + f]);
            }
        }
    for (int i = 0; i < Blocking::moment_components * F; i += V::sums)
        V::add_sums(acc + i, out + i);
}

// One block of components against the features of a panel.
template <class T, int n_components>
inline void moment_row(std::int64_t n_groups, const T* joint, std::int64_t joint_stride,
                       const T* panel, std::int64_t panel_stride, int n_features, double* out) {
    constexpr int G = group_rows<T>, F = Blocking::moment_features;
    int f = 0;
    for (; f + F <= n_features; f += F)
        moment_block<T, n_components, F>(n_groups, joint, joint_stride, panel + f * G, panel_stride,
                                         out + f * Blocking::moment_components);
    if (f < n_features)
        with_count<1, F - 1>(n_features - f, [&](auto features) VBFAST_INLINED {
            moment_block<T, n_components, features.value>(n_groups, joint, joint_stride,
                                                          panel + f * G, panel_stride,
                                                          out + f * Blocking::moment_components);
        });
}

// Whether a vector of rows counts in the dense product. All components take a row's products there,
// if only times zero: rows do not count whose squares, times their scale, are so large that sums of
// them may overflow.
template <class T>
inline auto is_dense(const T* x, std::int64_t n_features, Lanes<T> scale) {
    using V = Lanes<T>;
    constexpr int G = group_rows<T>;
    const V one = V::set(T(1));
    V norm = V::zero();
    for (std::int64_t d = 0; d < n_features; ++d) {
        const V a = V::load(x + d * G);
        norm = fma(a, a, norm);
    }
    return less(norm * max(one, scale), V::set(T(0x1p20) * ordinary_square<T>));
}

// Builds the panel of features m0 to m0 + n for the groups from `start` on.
template <class T, bool some_left_out>
void moment_panel(const Model<T>& model, Tile<T>& tile, std::int64_t start, std::int64_t n_groups,
                  std::int64_t m0, int n, std::int64_t panel_stride) {
    using V = Lanes<T>;
    constexpr int G = group_rows<T>, W = V::width;
    const std::int64_t D = model.n_features;
    for (std::int64_t g = 0; g < n_groups; ++g) {
        const T* x = tile.features + (start + g) * (D + 2) * G;
        T* panel = tile.panel + g * panel_stride;
        for (int v = 0; v < Blocking::row_vectors; ++v) {
            const V scale = V::load(tile.row_scale + (start + g) * G + v * W);
            for (int f = 0; f < n; ++f) {
                const V a = V::load(x + model.left[m0 + f] * G + v * W);
                const V b = V::load(x + model.right[m0 + f] * G + v * W);
                V product = a * scale * b;
                if constexpr (some_left_out)
                    product = V::select(is_dense(x + v * W, D, scale), product, V::zero());
                product.store(panel + f * G + v * W);
            }
        }
    }
}

// Adds the moments of the rows that the panels leave out, one row at a time and in float64.
template <class T>
void moments_of_left_out(const Model<T>& model, const Tile<T>& tile, std::int64_t first,
                         std::int64_t last, double* dense) {
    using V = Lanes<T>;
    constexpr int G = group_rows<T>, F = Blocking::moment_features;
    constexpr int B = Blocking::moment_components;
    const std::int64_t D = model.n_features;
    const auto add_row = [&](std::int64_t n) {
        const T* x = tile.features + n / G * (D + 2) * G + n % G;
        double norm = 0;
        for (std::int64_t d = 0; d < D; ++d)
            norm += static_cast<double>(x[d * G]) * static_cast<double>(x[d * G]);
        const auto feature = [&](std::int64_t f) {
            return f > D ? norm : static_cast<double>(x[f * G]);
        };
        for (std::int64_t k = first; k < last; ++k) {
            const double r =
                static_cast<double>(tile.joint[n / G * model.joint_stride + k * G + n % G]) *
                static_cast<double>(tile.row_scale[n]);
            if (model.gathered[k] || !(r > 0)) continue;
            double* sums = dense + k / B * model.dense_stride + k % B * F;
            for (std::int64_t m = 0; m < model.n_moments; ++m)
                sums[m / F * F * B + m % F] += r * feature(model.left[m]) * feature(model.right[m]);
        }
    };
    for (std::int64_t n = 0; n < tile.n_rows; n += V::width) {
        const T* x = tile.features + n / G * (D + 2) * G + n % G;
        const unsigned in = V::bits(is_dense(x, D, V::load(tile.row_scale + n)));
        for (std::int64_t i = 0; i < V::width && n + i < tile.n_rows; ++i)
            if (!(in >> i & 1)) add_row(n + i);
    }
}

// All moments of the groups from `start` on.
template <class T>
void moments_of_groups(const Model<T>& model, Tile<T>& tile, std::int64_t start,
                       std::int64_t n_groups, std::int64_t first, std::int64_t last,
                       double* dense) {
    constexpr int G = group_rows<T>, F = Blocking::moment_features;
    constexpr int B = Blocking::moment_components;
    static_assert(B == 4, "the switch below counts on it");
    const std::int64_t fitting =
        tuning::dense_panel / (n_groups * G * static_cast<std::int64_t>(sizeof(T))) / F * F;
    const std::int64_t panel_features = fitting > F ? fitting : F;
    const std::int64_t panel_stride = panel_features * G, joint_stride = model.joint_stride;
    for (std::int64_t m0 = 0; m0 < model.n_moments; m0 += panel_features) {
        const std::int64_t left = model.n_moments - m0;
        const int n = static_cast<int>(left < panel_features ? left : panel_features);
        if (tile.squares_overflow)
            moment_panel<T, true>(model, tile, start, n_groups, m0, n, panel_stride);
        else
            moment_panel<T, false>(model, tile, start, n_groups, m0, n, panel_stride);
        const T* panel = tile.panel;
        double* out = dense + first / B * model.dense_stride + m0 * B;
        for (std::int64_t k = first; k < last; k += B, out += model.dense_stride) {
            const T* joint = tile.joint + start * joint_stride + k * G;
            bool wanted = false;
            for (std::int64_t i = k; i < k + B && i < last; ++i)
                wanted = wanted || !model.gathered[i];
            if (!wanted) continue;
            switch (last - k) {
                case 1:
                    moment_row<T, 1>(n_groups, joint, joint_stride, panel, panel_stride, n, out);
                    break;
                case 2:
                    moment_row<T, 2>(n_groups, joint, joint_stride, panel, panel_stride, n, out);
                    break;
                case 3:
                    moment_row<T, 3>(n_groups, joint, joint_stride, panel, panel_stride, n, out);
                    break;
                default:
                    moment_row<T, B>(n_groups, joint, joint_stride, panel, panel_stride, n, out);
            }
        }
    }
}

template <class T>
void dense_moments(const Model<T>& model, Tile<T>& tile, std::int64_t first, std::int64_t last,
                   double* dense) {
    constexpr std::int64_t step =
        Blocking::moment_row_bytes / (group_rows<T> * static_cast<std::int64_t>(sizeof(T)));
    const std::int64_t n_groups = group_count(tile);
    for (std::int64_t start = 0; start < n_groups; start += step)
        moments_of_groups(model, tile, start, start + step < n_groups ? step : n_groups - start,
                          first, last, dense);
    if (tile.squares_overflow) moments_of_left_out(model, tile, first, last, dense);
}
