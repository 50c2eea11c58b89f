// The functions of vbfast.h over the rows of a matrix, which is a layout for arrays/run.h.
#pragma once

#include <cstdint>

#include "arrays/run.h"
#include "vbfast.h"

namespace vbfast::capi {

// A call of the driver for n_rows slices of n elements.
template <class T>
class RowsCall {
  public:
    RowsCall(std::int64_t n_rows, std::int64_t n, arrays::Reduction reduction, int num_threads) {
        call.reduction = reduction;
        call.allow_negative = false;
        for (double& tolerance : call.tolerances) tolerance = arrays::sum_tolerance(sizeof(T) == 8);
        call.num_threads = num_threads;
        layout_.n_outer = layout_.n_reduced = 1;
        layout_.outer[0] = n_rows;
        layout_.reduced[0] = n;
        layout_.operands[arrays::place_number].outer[0] = 1;
    }

    void matrix(arrays::Place place, const T* data, std::int64_t row_stride, std::int64_t stride) {
        constexpr std::int64_t size = sizeof(T);
        a_row(place, data, row_stride * size);
        layout_.operands[place].reduced[0] = stride * size;
    }

    void map(arrays::Mapping mapping) {
        call.maps = true;
        call.mapping = mapping;
    }

    void weights(const double* data) { a_row(arrays::place_weight, data, sizeof(double)); }

    void result(arrays::Result which, T* out) { add_result(which, out, sizeof(T)); }

    void terms(vbfast_elbo_terms* rows) {
        call.wide_results = true;
        if (rows == nullptr) return;
        constexpr std::int64_t step = sizeof(vbfast_elbo_terms);
        add_result(arrays::result_elbo, &rows->elbo, step);
        add_result(arrays::result_expected, &rows->expected_log_joint, step);
        add_result(arrays::result_entropy, &rows->entropy, step);
        add_result(arrays::result_log_evidence, &rows->log_evidence, step);
        add_result(arrays::result_kl, &rows->kl, step);
    }

    // Returns the info of vbfast.h. The driver throws only for want of memory or of a thread.
    std::int64_t run(vbfast_elbo_terms* sum = nullptr) noexcept {
        call.wants_sums = sum != nullptr;
        try {
            const arrays::Outcome outcome = arrays::run_call<T>(call, layout_);
            if (sum != nullptr)
                *sum = {outcome.sums[arrays::result_elbo], outcome.sums[arrays::result_expected],
                        outcome.sums[arrays::result_entropy],
                        outcome.sums[arrays::result_log_evidence], outcome.sums[arrays::result_kl]};
            return outcome.bad_slice + 1;
        } catch (...) {
            return VBFAST_NO_MEMORY;
        }
    }

    arrays::Call call;

  private:
    void a_row(int place, const void* data, std::int64_t step) {
        arrays::Operand& operand = layout_.operands[place];
        operand.data = static_cast<char*>(const_cast<void*>(data));
        operand.outer[0] = step;
    }
    void add_result(arrays::Result which, void* out, std::int64_t step) {
        a_row(arrays::place_result + call.n_results, out, step);
        call.results[call.n_results++] = which;
    }

    arrays::Layout layout_;
};

inline arrays::Reduction pair_of(int q_kind, int p_kind) {
    if (q_kind == VBFAST_LOGITS)
        return p_kind == VBFAST_LOGITS ? arrays::Reduction::logits_logits
                                       : arrays::Reduction::logits_probs;
    return p_kind == VBFAST_LOGITS ? arrays::Reduction::probs_logits
                                   : arrays::Reduction::probs_probs;
}

inline arrays::Reduction entropy_of(int kind) {
    return kind == VBFAST_LOGITS ? arrays::Reduction::logits_entropy
                                 : arrays::Reduction::probs_entropy;
}

inline arrays::Demand demand_of(int kind) {
    return kind == VBFAST_LOGITS ? arrays::Demand::nothing : arrays::Demand::distribution;
}

template <class T>
std::int64_t logsumexp_rows(std::int64_t n_rows, std::int64_t n, const T* a,
                            std::int64_t row_stride, std::int64_t stride, T* out,
                            int num_threads) noexcept {
    RowsCall<T> rows(n_rows, n, arrays::Reduction::sum_exp, num_threads);
    rows.matrix(arrays::place_x, a, row_stride, stride);
    rows.result(arrays::result_log_evidence, out);
    return rows.run();
}

template <class T, arrays::Mapping mapping>
std::int64_t map_rows(std::int64_t n_rows, std::int64_t n, const T* a, std::int64_t row_stride,
                      std::int64_t stride, T* out, std::int64_t out_row_stride,
                      std::int64_t out_stride, int num_threads) noexcept {
    RowsCall<T> rows(n_rows, n, arrays::reduction_of(mapping), num_threads);
    rows.map(mapping);
    rows.matrix(arrays::place_x, a, row_stride, stride);
    rows.matrix(arrays::place_out0, out, out_row_stride, out_stride);
    return rows.run();
}

template <class T>
std::int64_t entropy_rows(std::int64_t n_rows, std::int64_t n, int kind, const T* a,
                          std::int64_t row_stride, std::int64_t stride, T* out,
                          int num_threads) noexcept {
    RowsCall<T> rows(n_rows, n, entropy_of(kind), num_threads);
    rows.call.demands[0] = demand_of(kind);
    rows.matrix(arrays::place_x, a, row_stride, stride);
    rows.result(arrays::result_entropy, out);
    return rows.run();
}

template <class T>
std::int64_t kl_divergence_rows(std::int64_t n_rows, std::int64_t n, int q_kind, const T* q,
                                std::int64_t q_row_stride, std::int64_t q_stride, int p_kind,
                                const T* p, std::int64_t p_row_stride, std::int64_t p_stride,
                                T* out, int num_threads) noexcept {
    RowsCall<T> rows(n_rows, n, pair_of(q_kind, p_kind), num_threads);
    rows.call.demands[0] = demand_of(q_kind);
    rows.call.demands[1] = demand_of(p_kind);
    rows.matrix(arrays::place_x, q, q_row_stride, q_stride);
    rows.matrix(arrays::place_y, p, p_row_stride, p_stride);
    rows.result(arrays::result_kl, out);
    return rows.run();
}

template <class T>
std::int64_t elbo_rows(std::int64_t n_rows, std::int64_t n, const T* log_joint,
                       std::int64_t row_stride, std::int64_t stride, int q_kind, const T* q,
                       std::int64_t q_row_stride, std::int64_t q_stride, const double* weights,
                       vbfast_elbo_terms* row_terms, vbfast_elbo_terms* sum,
                       int num_threads) noexcept {
    const bool posterior = q == nullptr;
    RowsCall<T> rows(n_rows, n, posterior ? arrays::Reduction::logits_entropy : pair_of(q_kind, 0),
                     num_threads);
    rows.matrix(posterior ? arrays::place_x : arrays::place_y, log_joint, row_stride, stride);
    if (!posterior) {
        rows.call.demands[0] =
            q_kind == VBFAST_LOGITS ? arrays::Demand::proper : arrays::Demand::distribution;
        rows.matrix(arrays::place_x, q, q_row_stride, q_stride);
    }
    rows.weights(weights);
    rows.terms(row_terms);
    return rows.run(sum);
}

template <class T>
std::int64_t elbo_and_grad_rows(std::int64_t n_rows, std::int64_t n, const T* log_joint,
                                std::int64_t row_stride, std::int64_t stride, const T* q_logits,
                                std::int64_t q_row_stride, std::int64_t q_stride,
                                const double* weights, vbfast_elbo_terms* row_terms,
                                vbfast_elbo_terms* sum, T* grad_q_logits,
                                std::int64_t grad_q_row_stride, std::int64_t grad_q_stride,
                                T* grad_log_joint, std::int64_t grad_row_stride,
                                std::int64_t grad_stride, int num_threads) noexcept {
    const bool posterior = q_logits == nullptr;
    RowsCall<T> rows(
        n_rows, n, posterior ? arrays::Reduction::logits_entropy : arrays::Reduction::logits_logits,
        num_threads);
    rows.map(posterior ? arrays::Mapping::posterior_gradient : arrays::Mapping::gradient);
    rows.matrix(posterior ? arrays::place_x : arrays::place_y, log_joint, row_stride, stride);
    if (!posterior) {
        rows.call.demands[0] = arrays::Demand::proper;
        rows.matrix(arrays::place_x, q_logits, q_row_stride, q_stride);
    }
    rows.matrix(arrays::place_out0, grad_q_logits, grad_q_row_stride, grad_q_stride);
    rows.matrix(arrays::place_out1, grad_log_joint, grad_row_stride, grad_stride);
    rows.weights(weights);
    rows.terms(row_terms);
    return rows.run(sum);
}

}  // namespace vbfast::capi
