// The reductions along a contiguous row of one slice. See Reducer::row in table.h.
//
// Error: every 64 vectors are summed by themselves, in T, and then in float64, a lane each: of many
// equal numbers that are added one after another, all roundings go the same way.
//
// Blocking: a row of at most row_chunk elements is read twice, for its references and for its sums,
// the second time from L1 or L2. `exponentials` vectors at a time overlap.

// The references of a row, one number each.
template <class Op, class T>
void row_references(const T* x, const T* y, std::int64_t n, T* reference) {
    using V = Lanes<T>;
    constexpr int U = 4;
    V lanes[U][Op::references];
    for (int u = 0; u < U; ++u)
        for (int k = 0; k < Op::references; ++k)
            lanes[u][k] = V::set(static_cast<T>(initial_reference<V, Op>(k)));
    // Filling up must not lower a minimum.
    const T fill[2] = {Op::logits[0] ? -infinity<T> : infinity<T>,
                       Op::references > 1 ? (Op::logits[1] ? -infinity<T> : infinity<T>) : T(0)};
    for_each_group<Op::inputs, U>(x, y, n, fill,
                                  [&](auto count, const V* a, const V* b, std::int64_t) {
                                      for (int u = 0; u < count.value; ++u)
                                          Op::observe(a[u], b[u], lanes[u]);
                                  });
    for (int k = 0; k < Op::references; ++k) {
        V all = lanes[0][k];
        for (int u = 1; u < U; ++u)
            all = Op::logits[k] ? max(all, lanes[u][k]) : min(all, lanes[u][k]);
        T each[V::width];
        all.store(each);
        for (int j = 1; j < V::width; ++j)
            if (Op::logits[k] ? each[j] > each[0] : each[j] < each[0]) each[0] = each[j];
        reference[k] = each[0];
    }
}

// Sums of a row about its references. keep(Count<n>, e, i) sees what n vectors from element i add
// to the first sum.
template <class Op, class T, class Keep>
void row_sums(const T* x, const T* y, std::int64_t n, std::int64_t prefetch_distance,
              const T* reference, double* state, std::int64_t plane, Keep&& keep) {
    using V = Lanes<T>;
    constexpr std::int64_t together = 64 * V::width;
    V base[Op::references], sum[Op::sums];
    for (int k = 0; k < Op::references; ++k) base[k] = V::set(reference[k]);
    base_of<V, Op>(base, base);
    for (int k = 0; k < Op::sums; ++k) sum[k] = V::zero();
    const T fill[2] = {neutral<T, Op>(0), neutral<T, Op>(1)};
    double each[Op::sums][V::width] = {};
    const auto flush = [&] {
        for (int k = 0; k < Op::sums; ++k) {
            sum[k].add_to(each[k]);
            sum[k] = V::zero();
        }
    };
    for_each_group<Op::inputs, Blocking::exponentials>(
        x, y, n, fill, [&](auto count, const V* a, const V* b, std::int64_t i) {
            constexpr int vectors = decltype(count)::value;
            prefetch<vectors>(x + i + prefetch_distance);
            if constexpr (Op::inputs > 1) prefetch<vectors>(y + i + prefetch_distance);
            V e[vectors];
            Op::template add<vectors, false>(a, b, base, sum, e);
            keep(count, e, i);
            if constexpr (vectors > 1)
                if (i % together == together - vectors * V::width) flush();
        });
    flush();
    for (int k = 0; k < Op::references; ++k) state[k * plane] = static_cast<double>(reference[k]);
    for (int k = 0; k < Op::sums; ++k) {
        double total = 0;
        for (int j = 0; j < V::width; ++j) total += each[k][j];
        state[(Op::references + k) * plane] = total;
    }
}

// The exponentials of a row, with room for the last vector.
template <class T>
struct Kept {
    template <class Count>
    void operator()(Count count, const Lanes<T>* vectors, std::int64_t i) {
        for (int u = 0; u < count.value; ++u) vectors[u].store(e + i + u * Lanes<T>::width);
    }

    alignas(64) T e[tuning::row_chunk + Lanes<T>::width];
};

// Writes the sum of a row's exponentials below the largest, which is one. More than an eighth is
// the sum of all minus one; a smaller rest has lost digits there, and is summed by itself.
template <class Op, class T>
void keep_rest(const Kept<T>& kept, std::int64_t n, double* state, std::int64_t plane) {
    using V = Lanes<T>;
    double* sums = state + Op::references * plane;
    double& rest = sums[Op::rest * plane];
    rest = sums[0] - 1;
    if (!(rest < 0.125)) return;
    const T fill[2] = {T(0), T(0)};
    V sum = V::zero();
    const auto add = [&](auto count, const V* e, const V*, std::int64_t) {
        constexpr int vectors = decltype(count)::value;
        V below[vectors];
        for (int u = 0; u < vectors; ++u) below[u] = where(less(e[u], V::set(1)), e[u]);
        sum = sum + sum_of<vectors>(below);
    };
    for_each_group<1, 4>(kept.e, kept.e, n, fill, add);
    double each[V::width] = {};
    sum.add_to(each);
    rest = 0;
    for (int j = 0; j < V::width; ++j) rest += each[j];
}

template <class Op, class T>
void reduce_row(const T* x, const T* y, std::int64_t n, std::int64_t prefetch_distance,
                double* state, std::int64_t plane) {
    T reference[Op::references];
    row_references<Op>(x, y, n, reference);
    if constexpr (Op::rest >= 0) {
        Kept<T> kept;
        row_sums<Op>(x, y, n, prefetch_distance, reference, state, plane, kept);
        keep_rest<Op>(kept, n, state, plane);
    } else {
        row_sums<Op>(x, y, n, prefetch_distance, reference, state, plane,
                     [](auto, const Lanes<T>*, std::int64_t) {});
    }
}
