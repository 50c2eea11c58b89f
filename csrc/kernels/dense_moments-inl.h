// Sufficient statistics of many components as one matrix product: C[k][m] += sum_n r_nk Phi_nm.
//
// Phi_nm is the product of two extended features (kernels/tile-inl.h): 1, x_d, x_d^2, |x|^2 or x_i
// x_j, by covariance type. Rows are in lanes on both sides, so neither operand is transposed: a
// block of moment_components x moment_features dot products accumulates in registers over the whole
// tile and is reduced across lanes once, in float64 from there on. Twelve features' worth of Phi,
// already times w_n / sum_k, is built at a time and stays in L1 while all components pass over it.
//
// Layout of C: blocks of components, in each the blocks of features, in each moment_components x
// moment_features doubles, feature fastest. The last blocks are padded.

template <class T, int n_components, int n_features>
inline void moment_block(const Tile<T>& tile, const T* joint, std::int64_t joint_stride,
                         const T* panel, std::int64_t panel_stride, double* out) {
    using V = Lanes<T>;
    constexpr int G = group_rows<T>, W = V::width, F = Blocking::moment_features;
    V acc[Blocking::moment_components * F];
    for (V& a : acc) a = V::zero();
    for (std::int64_t g = 0; g < group_count(tile);
         ++g, joint += joint_stride, panel += panel_stride)
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

template <class T, int n_features>
void moment_column(const Model<T>& model, const Tile<T>& tile, const T* panel,
                   std::int64_t panel_stride, std::int64_t first, std::int64_t last, double* out) {
    constexpr int G = group_rows<T>, B = Blocking::moment_components;
    const std::int64_t stride = model.n_components * G;
    for (std::int64_t k = first; k < last; k += B, out += model.dense_stride) {
        const T* joint = tile.joint + k * G;
        bool wanted = false;
        for (std::int64_t i = k; i < k + B && i < last; ++i) wanted = wanted || !model.listed[i];
        if (!wanted) continue;
        switch (last - k) {
            case 1:
                moment_block<T, 1, n_features>(tile, joint, stride, panel, panel_stride, out);
                break;
            case 2:
                moment_block<T, 2, n_features>(tile, joint, stride, panel, panel_stride, out);
                break;
            case 3:
                moment_block<T, 3, n_features>(tile, joint, stride, panel, panel_stride, out);
                break;
            default:
                moment_block<T, B, n_features>(tile, joint, stride, panel, panel_stride, out);
        }
    }
}

template <class T, int n>
void moment_column_dispatch(int n_features, const Model<T>& model, const Tile<T>& tile,
                            const T* panel, std::int64_t panel_stride, std::int64_t first,
                            std::int64_t last, double* out) {
    if (n_features == n)
        moment_column<T, n>(model, tile, panel, panel_stride, first, last, out);
    else if constexpr (n > 1)
        moment_column_dispatch<T, n - 1>(n_features, model, tile, panel, panel_stride, first, last,
                                         out);
}

template <class T>
void dense_moments(const Model<T>& model, Tile<T>& tile, std::int64_t first, std::int64_t last,
                   double* dense) {
    using V = Lanes<T>;
    constexpr int G = group_rows<T>, W = V::width, F = Blocking::moment_features;
    constexpr int B = Blocking::moment_components, panel_features = 12;
    static_assert(B == 4 && panel_features % F == 0, "moment_column and the panel count on these");
    const std::int64_t D = model.n_features;
    double* out = dense + first / B * model.dense_stride;
    for (std::int64_t m0 = 0; m0 < model.n_moments; m0 += panel_features) {
        const std::int64_t left = model.n_moments - m0;
        const int n = static_cast<int>(left < panel_features ? left : panel_features);
        for (std::int64_t g = 0; g < group_count(tile); ++g) {
            const T* x = tile.features + g * (D + 2) * G;
            T* panel = tile.panel + g * panel_features * G;
            for (int v = 0; v < Blocking::row_vectors; ++v) {
                const V scale = V::load(tile.row_scale + g * G + v * W);
                for (int f = 0; f < n; ++f) {
                    const V a = V::load(x + model.left[m0 + f] * G + v * W);
                    const V b = V::load(x + model.right[m0 + f] * G + v * W);
                    (a * scale * b).store(panel + f * G + v * W);
                }
            }
        }
        for (int f = 0; f < n; f += F)
            moment_column_dispatch<T, F>(n - f < F ? n - f : F, model, tile, tile.panel + f * G,
                                         panel_features * G, first, last, out + (m0 + f) * B);
    }
}
