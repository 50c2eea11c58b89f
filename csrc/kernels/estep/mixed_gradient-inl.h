// Gradient of the log evidence in the rows, sum_k q_nk Lambda_k (mu_k - x_n), from mixed
// precisions, lanes across rows; or sum_k q_nk theta_k of the linear form.
//
// The gradient is linear in Lambda_k mu_k and in Lambda_k. A group first multiplies its
// responsibilities into these numbers, A_ne = sum_k q_nk C_ke, and the mixed precision meets the
// row once. A symmetric precision has D (D + 1) / 2 numbers, so that a component costs half of what
// whitening the row again and multiplying back would.
//
// In: tile.joint with tile.inverse_sum, tile.features and tile.raw, and the coefficients: runs of
// numbers e, each run in blocks of factor_columns (the last one holds the remainder), a block as
// (n_components, columns of the block). Lambda_k is divided by model.gradient_scale.
//   model.precision_means: one run, (Lambda_k mu_k)_d; tied: mu_kd; linear: theta_kd.
//   model.precisions: full: one run, the lower triangle row by row, the diagonal halved because
//   both of its sides are added; diag: one run of Lambda_kd; spherical: a run of one number; tied:
//   the same, all one; linear: null.
//   model.shared_precision: tied: one run, Lambda_kd, of n_features instead of n_components.
// Out: tile.gradient, groups of (n_features, group rows), and from there tile.out_gradient.
//
// Error: only linear terms are taken about the origin, so near components lose no more digits here
// than in the whitened rows of the log-joint; far ones are centred, one at a time. Components whose
// exponentials are at most negligible_share in the whole group are left out.
//
// Blocking: factor_columns times row_vectors mixed numbers accumulate in registers. They wait in a
// third of L1 to meet the row. Coefficients come in blocks that fit half of L2, as the log-joint's
// parameters do, and every group visits a block before the next one is fetched.

// use(first + j, sum_k q_k C_kj) for the n columns of a block.
template <class T, int n, class Use>
inline void mix_block(const T* joint, const std::int32_t* active, std::int64_t n_active,
                      const T* coefficients, std::int64_t first, Use& use) {
    using V = Lanes<T>;
    constexpr int G = group_rows<T>, W = V::width, RV = Blocking::row_vectors;
    V acc[n][RV];
    for (int j = 0; j < n; ++j)
        for (int v = 0; v < RV; ++v) acc[j][v] = V::zero();
    for (std::int64_t i = 0; i < n_active; ++i) {
        const std::int64_t k = active[i];
        const T* c = coefficients + k * n;
        V q[RV];
        for (int v = 0; v < RV; ++v) q[v] = V::load(joint + k * G + v * W);
        for (int j = 0; j < n; ++j) {
            const V cj = V::set(c[j]);
            for (int v = 0; v < RV; ++v) acc[j][v] = fma(q[v], cj, acc[j][v]);
        }
    }
    for (int j = 0; j < n; ++j) use(first + j, acc[j]);
}

// use(e, sum_k q_k C_ke) for entries `first` to `last` - 1 of a run of n_entries; `first` is a
// multiple of factor_columns.
template <class T, class Use>
inline void mix_run(const T* joint, const std::int32_t* active, std::int64_t n_active, const T* run,
                    std::int64_t n_components, std::int64_t n_entries, std::int64_t first,
                    std::int64_t last, Use use) {
    constexpr int F = Blocking::factor_columns;
    for (std::int64_t e = first; e < last; e += F) {
        const T* block = run + e * n_components;
        if (e + F <= n_entries)
            mix_block<T, F>(joint, active, n_active, block, e, use);
        else
            with_count<1, F - 1>(n_entries - e, [&](auto columns) {
                mix_block<T, columns.value>(joint, active, n_active, block, e, use);
            });
    }
}

// gradient -= A x for `count` entries, from column j on, of row i of a symmetric A's lower
// triangle, and for their mirror images.
template <class T>
inline void subtract_entries(const T* mixed, std::int64_t i, std::int64_t j, std::int64_t count,
                             const T* x, T* gradient) {
    using V = Lanes<T>;
    constexpr int G = group_rows<T>, W = V::width, RV = Blocking::row_vectors;
    V xi[RV], sum[RV];
    for (int v = 0; v < RV; ++v) {
        xi[v] = V::load(x + i * G + v * W);
        sum[v] = V::zero();
    }
    for (const T* end = mixed + count * G; mixed < end; mixed += G, ++j)
        for (int v = 0; v < RV; ++v) {
            const V a = V::load(mixed + v * W);
            T* gj = gradient + j * G + v * W;
            sum[v] = fma(a, V::load(x + j * G + v * W), sum[v]);
            fnma(a, xi[v], V::load(gj)).store(gj);
        }
    for (int v = 0; v < RV; ++v) {
        T* gi = gradient + i * G + v * W;
        (V::load(gi) - sum[v]).store(gi);
    }
}

// gradient -= A x for entries `first` to `last` - 1 of the lower triangle of a symmetric A, which
// the run mixes; `mixed` holds third_of_l1 bytes.
template <class T>
void subtract_mixed_product(const T* joint, const std::int32_t* active, std::int64_t n_active,
                            const T* run, std::int64_t n_components, std::int64_t n_features,
                            std::int64_t first, std::int64_t last, const T* x, T* gradient,
                            T* mixed) {
    using V = Lanes<T>;
    constexpr int G = group_rows<T>, W = V::width, F = Blocking::factor_columns;
    constexpr std::int64_t chunk =
        tuning::third_of_l1 / (G * static_cast<std::int64_t>(sizeof(T))) / F * F;
    static_assert(chunk > 0, "a block must fit");
    std::int64_t i = 0;
    while ((i + 1) * (i + 2) / 2 <= first) ++i;
    std::int64_t j = first - i * (i + 1) / 2;
    for (std::int64_t e = first; e < last; e += chunk) {
        const std::int64_t end = e + chunk < last ? e + chunk : last;
        mix_run<T>(joint, active, n_active, run, n_components, n_features * (n_features + 1) / 2, e,
                   end, [&](std::int64_t entry, const V* a) {
                       for (int v = 0; v < Blocking::row_vectors; ++v)
                           a[v].store(mixed + (entry - e) * G + v * W);
                   });
        for (std::int64_t entry = e; entry < end;) {
            const std::int64_t left = end - entry, row = i + 1 - j;
            const std::int64_t count = row < left ? row : left;
            subtract_entries(mixed + (entry - e) * G, i, j, count, x, gradient);
            entry += count;
            j += count;
            if (j > i) j = 0, ++i;
        }
    }
}

// Finds the components that count in the group: the near ones from the front of tile.active, the
// others from its back.
template <class T>
void find_active(const Model<T>& model, Tile<T>& tile, const T* joint, std::int64_t* n_near,
                 std::int64_t* n_far) {
    using V = Lanes<T>;
    constexpr int G = group_rows<T>, W = V::width;
    const std::int64_t K = model.n_components;
    *n_near = *n_far = 0;
    for (std::int64_t k = 0; k < K; ++k) {
        unsigned some = 0;
        for (int v = 0; v < Blocking::row_vectors; ++v)
            some |= V::bits(less(V::set(negligible_share<T>), V::load(joint + k * G + v * W)));
        if (!some) continue;
        tile.active[model.near[k] ? (*n_near)++ : K - ++*n_far] = static_cast<std::int32_t>(k);
    }
}

// Transposes a group back into rows of the output.
template <class T>
void write_gradient(const Tile<T>& tile, std::int64_t n_features, std::int64_t g,
                    const T* gradient) {
    using V = Lanes<T>;
    constexpr int G = group_rows<T>, W = V::width;
    const std::int64_t left = tile.n_rows - g * G;
    T* out = tile.out_gradient + g * G * n_features;
    std::int64_t done = 0;
    if (left >= G)
        for (; done + W <= n_features; done += W)
            for (int v = 0; v < Blocking::row_vectors; ++v)
                V::transpose(gradient + done * G + v * W, G, out + v * W * n_features + done,
                             n_features);
    for (std::int64_t i = 0; i < G && i < left; ++i)
        for (std::int64_t d = done; d < n_features; ++d)
            out[i * n_features + d] = gradient[d * G + i];
}

// subtract(joint, active, n_active, x, gradient) for each group, with its near components and rows
// about the origin, then with each of the others and rows about its mean.
template <class T, class Subtract>
void for_active(const Model<T>& model, Tile<T>& tile, Subtract subtract) {
    constexpr int G = group_rows<T>;
    const std::int64_t D = model.n_features, K = model.n_components;
    for (std::int64_t g = 0; g < group_count(tile); ++g) {
        const T* x = tile.features + g * (D + 2) * G;
        const T* joint = tile.joint + g * model.joint_stride;
        T* gradient = tile.gradient + g * D * G;
        std::int64_t n_near, n_far;
        find_active(model, tile, joint, &n_near, &n_far);
        if (n_near > 0) subtract(joint, tile.active, n_near, x, gradient);
        for (std::int64_t i = 1; i <= n_far; ++i) {
            const std::int32_t* k = tile.active + K - i;
            subtract(joint, k, std::int64_t(1), centre_group(model, tile, g, *k), gradient);
        }
    }
}

// gradient = sum_k q_k Lambda_k mu_k, or theta_k, over the near components; without Lambda when
// tied.
template <class T>
void mix_means(const Model<T>& model, Tile<T>& tile, std::int64_t first, std::int64_t last) {
    using V = Lanes<T>;
    constexpr int G = group_rows<T>, W = V::width;
    const std::int64_t D = model.n_features;
    for (std::int64_t g = 0; g < group_count(tile); ++g) {
        const T* joint = tile.joint + g * model.joint_stride;
        T* gradient = tile.gradient + g * D * G;
        std::int64_t n_near, n_far;
        find_active(model, tile, joint, &n_near, &n_far);
        mix_run<T>(joint, tile.active, n_near, model.precision_means, model.n_components, D, first,
                   last, [&](std::int64_t d, const V* a) {
                       for (int v = 0; v < Blocking::row_vectors; ++v)
                           a[v].store(gradient + d * G + v * W);
                   });
    }
}

// gradient -= sum_k q_k Lambda_k x; without Lambda when tied. Not of the linear form.
template <class T>
void subtract_precisions(const Model<T>& model, Tile<T>& tile, std::int64_t step) {
    using V = Lanes<T>;
    constexpr int G = group_rows<T>, W = V::width;
    const std::int64_t D = model.n_features, K = model.n_components;
    const auto subtract = [](std::int64_t d, const V* a, const T* x, T* gradient) {
        for (int v = 0; v < Blocking::row_vectors; ++v) {
            T* gd = gradient + d * G + v * W;
            fnma(a[v], V::load(x + d * G + v * W), V::load(gd)).store(gd);
        }
    };
    if (model.form == Form::full) {
        const std::int64_t numbers = D * (D + 1) / 2;
        for (std::int64_t first = 0; first < numbers; first += step) {
            if (stops(tile)) return;
            const std::int64_t last = first + step < numbers ? first + step : numbers;
            for_active(model, tile,
                       [&](const T* joint, const std::int32_t* active, std::int64_t n, const T* x,
                           T* gradient) {
                           subtract_mixed_product(joint, active, n, model.precisions, K, D, first,
                                                  last, x, gradient, tile.panel);
                       });
        }
    } else if (model.form == Form::diag) {
        for (std::int64_t first = 0; first < D; first += step) {
            const std::int64_t last = first + step < D ? first + step : D;
            for_active(model, tile,
                       [&](const T* joint, const std::int32_t* active, std::int64_t n, const T* x,
                           T* gradient) {
                           mix_run<T>(
                               joint, active, n, model.precisions, K, D, first, last,
                               [&](std::int64_t d, const V* a) { subtract(d, a, x, gradient); });
                       });
        }
    } else {
        for_active(model, tile,
                   [&](const T* joint, const std::int32_t* active, std::int64_t n, const T* x,
                       T* gradient) {
                       mix_run<T>(joint, active, n, model.precisions, K, 1, 0, 1,
                                  [&](std::int64_t, const V* a) {
                                      for (std::int64_t d = 0; d < D; ++d)
                                          subtract(d, a, x, gradient);
                                  });
                   });
    }
}

// Divides a group by the sums of its exponentials, and undoes the scale. When tied it is then
// multiplied by the precision: the rows of that are mixed, with the features in the place of
// responsibilities.
template <class T>
void finish_gradient(const Model<T>& model, Tile<T>& tile, std::int64_t g) {
    using V = Lanes<T>;
    constexpr int G = group_rows<T>, W = V::width, RV = Blocking::row_vectors;
    const std::int64_t D = model.n_features;
    const bool tied = model.form == Form::tied;
    T* gradient = tile.gradient + g * D * G;
    T* scaled = tied ? tile.group_scratch : gradient;
    for (int v = 0; v < RV; ++v) {
        const V inverse = V::load(tile.inverse_sum + g * G + v * W) * V::set(model.gradient_scale);
        // Of a row without responsibilities, differences may have overflowed.
        const auto some = less(V::zero(), inverse);
        for (std::int64_t d = 0; d < D; ++d) {
            const V scaled_d = inverse * V::load(gradient + d * G + v * W);
            V::select(some, scaled_d, V::zero()).store(scaled + d * G + v * W);
        }
    }
    if (!tied) return;
    mix_run<T>(scaled, tile.active, D, model.shared_precision, D, D, 0, D,
               [&](std::int64_t d, const V* a) {
                   for (int v = 0; v < RV; ++v) a[v].store(gradient + d * G + v * W);
               });
}

template <class T>
void mixed_gradient(const Model<T>& model, Tile<T>& tile) {
    constexpr int F = Blocking::factor_columns;
    const std::int64_t D = model.n_features;
    const std::int64_t fitting =
        tuning::half_of_l2 / (model.n_components * static_cast<std::int64_t>(sizeof(T)));
    const std::int64_t step = fitting > F ? fitting / F * F : F;
    for (std::int64_t first = 0; first < D; first += step)
        mix_means(model, tile, first, first + step < D ? first + step : D);
    if (model.precisions) subtract_precisions(model, tile, step);
    if (model.form == Form::tied)  // every row of the precision counts
        for (std::int64_t d = 0; d < D; ++d) tile.active[d] = static_cast<std::int32_t>(d);
    for (std::int64_t g = 0; g < group_count(tile); ++g) {
        finish_gradient(model, tile, g);
        write_gradient(tile, D, g, tile.gradient + g * D * group_rows<T>);
    }
}
