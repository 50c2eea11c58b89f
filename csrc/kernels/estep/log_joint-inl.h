// Log-joint of a tile, lanes across rows: l_nk = offset_k - 1/2 ||(x_n - mu_k) P_k||^2, or that of
// the linear form (linear_form-inl.h).
//
// In: tile.features and tile.raw (tile-inl.h), the parameters of the model.
// Out: tile.joint, groups of (n_components, group rows) at joint_stride, and tile.row_max.
//
// Error: of quadratic forms about n_features epsilon s^2 for a far component and n_features epsilon
// s (s + m) for a near one, where s and m are the distances of the row and of the origin from the
// mean, in standard deviations of the narrowest direction. A log-joint that overflows is -inf, or
// NaN where a difference that overflowed met a zero: overflow-inl.h settles both.
//
// Blocking: a group of rows (four vectors with AVX-512) meets one component or a few at a time, so
// that a parameter is broadcast once for all rows of the group and the squares stay in registers.
// Components come in blocks whose parameters fit half of L2, and all groups of the tile visit a
// block before the next one is fetched.

// Parameters that fit half of L2 come a third of L1 at a time: only the first group of a visit
// reads them from L2, and the log-joint of the groups of a visit stays there. Parameters that do
// not fit are read from memory once a tile.
template <class T>
Visits plan_visits(const Model<T>& model, std::int64_t n_groups) {
    const std::int64_t n_components = model.n_components;
    const std::int64_t component_bytes =
        static_cast<std::int64_t>(sizeof(T)) *
        (model.factor_stride > 0 ? model.factor_stride : model.n_features + 1);
    if (component_bytes * n_components > tuning::half_of_l2)
        return {n_groups, parameter_block(component_bytes)};
    // The rows of a tied model are whitened anew at every visit.
    if (model.form == Form::tied) return {1, n_components};
    const std::int64_t group_bytes =
        n_components * group_rows<T> * static_cast<std::int64_t>(sizeof(T));
    const std::int64_t fitting = tuning::visited_joint / group_bytes;
    return {fitting > 1 ? fitting : 1, parameter_block(component_bytes, tuning::third_of_l1)};
}

// evaluate(g, first, last) for components `first` to `last` - 1 and group g, in the order of the
// visits, and complete(g) once group g has all its components.
template <class T, class Evaluate, class Complete>
inline void visit_components(const Model<T>& model, Tile<T>& tile, Visits visits,
                             const Evaluate& evaluate, const Complete& complete) {
    const std::int64_t K = model.n_components;
    for (std::int64_t start = 0; start < group_count(tile); start += visits.groups)
        for (std::int64_t first = 0; first < K; first += visits.components) {
            if (stops(tile)) return;
            const std::int64_t last = first + visits.components < K ? first + visits.components : K;
            for (std::int64_t g = start; g < start + visits.groups && g < group_count(tile); ++g) {
                evaluate(g, first, last);
                if (last == K) complete(g);
            }
        }
}

// The first block of a factor has first_columns columns; 0 where all blocks are whole.
template <class T, int first_columns, class Complete>
void quadratic_log_joint(const Model<T>& model, Tile<T>& tile, const Complete& complete) {
    constexpr int G = group_rows<T>;
    const std::int64_t D = model.n_features;
    const bool tied = model.form == Form::tied;
    EarlyExit early_exit{tile.assignment == Assignment::posterior && !tile.out_log_joint};
    const auto evaluate = [&](std::int64_t g, std::int64_t first,
                              std::int64_t last) VBFAST_INLINED {
        const T* x = tile.features + g * (D + 2) * G;
        if (tied && model.all_near) {
            store_columns<T, first_columns>(x, model.factor, nullptr, D, tile.group_scratch);
            distance_log_joint<T, false>(model, tile, tile.group_scratch, g, first, last);
        } else if (tied || model.form == Form::full) {
            factor_log_joint<T, first_columns>(model, tile, g, first, last, early_exit);
        } else if (model.form == Form::diag) {
            diag_log_joint(model, tile, g, first, last);
        } else if (model.all_near) {
            distance_log_joint<T, false>(model, tile, x, g, first, last);
        } else {
            distance_log_joint<T, true>(model, tile, x, g, first, last);
        }
    };
    visit_components(model, tile, plan_visits(model, group_count(tile)), evaluate, complete);
}

// Fills tile.joint and tile.row_max. complete(g) is called once group g has all its components,
// which are in L1 then unless they are many.
template <class T, class Complete>
void log_joint(const Model<T>& model, Tile<T>& tile, const Complete& complete) {
    const std::int64_t n = group_count(tile) * group_rows<T>;
    for (std::int64_t i = 0; i < n; ++i) tile.row_max[i] = -static_cast<T>(runtime::infinity);
    if (model.form == Form::linear) {
        const auto evaluate = [&](std::int64_t g, std::int64_t first, std::int64_t last) {
            linear_log_joint(model, tile, g, first, last);
        };
        visit_components(model, tile, plan_linear_visits(model, group_count(tile)), evaluate,
                         complete);
        return;
    }
    constexpr int J = Blocking::factor_columns;
    with_count<0, J - 1>(model.n_features % J, [&](auto remainder) VBFAST_INLINED {
        quadratic_log_joint<T, remainder.value>(model, tile, complete);
    });
}
