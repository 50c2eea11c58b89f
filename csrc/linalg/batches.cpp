#include "linalg/batches.h"

#include <algorithm>
#include <vector>

#include "kernels/linalg/table.h"
#include "runtime/lowest_index.h"
#include "runtime/memory.h"
#include "runtime/numbers.h"
#include "runtime/thread_count.h"
#include "runtime/tuning.h"

namespace vbfast::linalg {

namespace {

// How the matrices of a batch are cut into blocks of columns, and memory for each thread to work on
// `in_hand` of them at a time. The blocks do not depend on the number of threads, nor does anything
// that is computed.
class ColumnBlocks {
  public:
    ColumnBlocks(std::int64_t n_components, std::int64_t D, int num_threads, int in_hand = 1)
        : columns_(kernels().block_columns),
          per_matrix_(runtime::ceil_div(D, columns_)),
          threads_(runtime::threads_for(n_components * D * D * D, num_threads)),
          bytes_(runtime::aligned_size(static_cast<std::size_t>(in_hand * D * columns_) *
                                       sizeof(double))),
          memory_(
              static_cast<char*>(buffer_.reserve(bytes_ * static_cast<std::size_t>(threads_)))) {}

    std::int64_t per_matrix() const { return per_matrix_; }
    std::int64_t first(std::int64_t block) const { return block * columns_; }
    int threads() const { return threads_; }
    double* memory(int worker) const {
        return reinterpret_cast<double*>(memory_ + bytes_ * static_cast<std::size_t>(worker));
    }

  private:
    std::int64_t columns_;
    std::int64_t per_matrix_;
    int threads_;
    std::size_t bytes_;  // of one thread's memory
    runtime::Buffer buffer_;
    char* memory_;
};

}  // namespace

std::int64_t precision_cholesky(const double* covariances, std::int64_t n_components,
                                std::int64_t n_features, double* factors, int num_threads,
                                const runtime::Interrupt* interrupt) {
    const Kernels& set = kernels();
    const std::int64_t D = n_features;
    ColumnBlocks blocks(n_components, D, num_threads);
    runtime::LowestIndex failed;
    const auto factor = [&](std::int64_t k, int worker, runtime::Region& region) {
        for (std::int64_t b = 0; b < blocks.per_matrix(); ++b) {
            if (runtime::stop_requested(region, worker)) return false;
            if (!set.factor_block(covariances + k * D * D, D, blocks.first(b), factors + k * D * D,
                                  blocks.memory(worker))) {
                failed.offer(k);
                return false;
            }
        }
        return true;
    };
    const auto invert = [&](std::int64_t k, std::int64_t b, int worker) {
        set.invert_block(D, blocks.first(b), factors + k * D * D, blocks.memory(worker));
    };
    const auto clear = [&](std::int64_t k) {
        for (std::int64_t i = 0; i < D; ++i) std::fill_n(factors + (k * D + i) * D, i, 0.0);
    };
    if (n_components >= blocks.threads()) {
        // A thread takes a matrix to its end, in its caches: nobody is woken more than once.
        runtime::parallel(n_components, blocks.threads(), interrupt,
                          [&](std::int64_t k, int worker, runtime::Region& region) {
                              if (!factor(k, worker, region)) return;
                              for (std::int64_t b = 0; b < blocks.per_matrix(); ++b) {
                                  if (runtime::stop_requested(region, worker)) return;
                                  invert(k, b, worker);
                              }
                              clear(k);
                          });
        return failed.index();
    }
    runtime::parallel(n_components, blocks.threads(), interrupt, factor);
    if (failed.index() >= 0) return failed.index();
    runtime::parallel(n_components * blocks.per_matrix(), blocks.threads(), interrupt,
                      [&](std::int64_t task, int worker, runtime::Region&) {
                          invert(task / blocks.per_matrix(), task % blocks.per_matrix(), worker);
                      });
    runtime::parallel(n_components, blocks.threads(), interrupt,
                      [&](std::int64_t k, int, runtime::Region&) { clear(k); });
    return -1;
}

void ratio_norms(const double* factors, const double* denominators, std::int64_t n_denominators,
                 std::int64_t n_components, std::int64_t n_features, double* norms, int num_threads,
                 const runtime::Interrupt* interrupt) {
    const Kernels& set = kernels();
    const std::int64_t size = n_features * n_features;
    ColumnBlocks blocks(n_components, n_features, num_threads);
    const std::int64_t n_blocks = blocks.per_matrix();
    std::vector<double> parts(static_cast<std::size_t>(n_components * n_blocks));
    runtime::parallel(
        n_components * n_blocks, blocks.threads(), interrupt,
        [&](std::int64_t task, int worker, runtime::Region&) {
            // The longest blocks first: threads then end together.
            const std::int64_t k = task / n_blocks, b = n_blocks - 1 - task % n_blocks;
            const double* by = denominators + (n_denominators == 1 ? 0 : k * size);
            parts[static_cast<std::size_t>(task)] = set.ratio_block(
                factors + k * size, by, n_features, blocks.first(b), blocks.memory(worker));
        });
    for (std::int64_t k = 0; k < n_components; ++k) {
        norms[k] = 0;
        for (std::int64_t b = 0; b < n_blocks; ++b)
            norms[k] += parts[static_cast<std::size_t>(k * n_blocks + n_blocks - 1 - b)];
    }
}

void squares(const double* factors, std::int64_t n_components, std::int64_t n_features, double* out,
             int num_threads, const runtime::Interrupt* interrupt) {
    const std::int64_t size = n_features * n_features;
    ColumnBlocks blocks(n_components, n_features, num_threads, 2);
    runtime::parallel(n_components * blocks.per_matrix(), blocks.threads(), interrupt,
                      [&](std::int64_t task, int worker, runtime::Region&) {
                          const std::int64_t k = task / blocks.per_matrix();
                          kernels().square_block(factors + k * size, n_features,
                                                 blocks.first(task % blocks.per_matrix()),
                                                 out + k * size, blocks.memory(worker));
                      });
}

void subtract_symmetric(const double* matrices, const double* a, const double* b,
                        std::int64_t n_components, std::int64_t n_features, double* out,
                        int num_threads, const runtime::Interrupt* interrupt) {
    const std::int64_t D = n_features;
    const int threads = runtime::threads_for(n_components * D * D, num_threads);
    runtime::parallel(n_components, threads, interrupt, [&](std::int64_t k, int, runtime::Region&) {
        kernels().subtract_symmetric(matrices + k * D * D, a + k * D, b + k * D, D,
                                     out + k * D * D);
    });
}

void average_moved(const double* matrices, const double* a, const double* b, double kept,
                   const double* others, double taken, std::int64_t n_components,
                   std::int64_t n_features, double* out, int num_threads,
                   const runtime::Interrupt* interrupt) {
    const std::int64_t D = n_features;
    const int threads = runtime::threads_for(n_components * D * D, num_threads);
    runtime::parallel(n_components, threads, interrupt, [&](std::int64_t k, int, runtime::Region&) {
        kernels().average_moved(matrices + k * D * D, a + k * D, b + k * D, kept,
                                others + k * D * D, taken, D, out + k * D * D);
    });
}

void matrix_gradients(const MatrixMoments& moments, const double* factors, std::int64_t n_matrices,
                      std::int64_t n_vectors, std::int64_t n_features, double* in_means,
                      double* in_covariances, double* in_factors, int num_threads,
                      const runtime::Interrupt* interrupt) {
    const Kernels& set = kernels();
    const std::int64_t D = n_features, size = D * D, scratch = size + n_vectors * D;
    ColumnBlocks blocks(n_matrices, D, num_threads, 2);
    if (scratch == 0) return;  // no features
    const std::int64_t some =
        std::min(n_matrices, std::max<std::int64_t>(1, tuning::gradient_scratch / scratch));
    runtime::Buffer memory;
    double* whitened = static_cast<double*>(
        memory.reserve(static_cast<std::size_t>(some * scratch) * sizeof(double)));
    for (std::int64_t start = 0; start < n_matrices; start += some) {
        const std::int64_t n = std::min(some, n_matrices - start);
        for (const auto step : {set.transpose_block, set.whiten_block, set.unwhiten_block})
            runtime::parallel(n * blocks.per_matrix(), blocks.threads(), interrupt,
                              [&](std::int64_t task, int worker, runtime::Region&) {
                                  const std::int64_t i = task / blocks.per_matrix(), k = start + i;
                                  const std::int64_t vectors = k * n_vectors * D;
                                  const MatrixGradient gradient = {
                                      D,
                                      n_vectors,
                                      moments.weight[k],
                                      moments.first + vectors,
                                      moments.second + k * size,
                                      factors + k * size,
                                      whitened + i * scratch,
                                      in_means + vectors,
                                      in_covariances + k * size,
                                      in_factors + k * size,
                                  };
                                  step(gradient, blocks.first(task % blocks.per_matrix()),
                                       blocks.memory(worker));
                              });
    }
}

void draw_rows(const double* factors, std::int64_t n_factors, const double* means,
               const std::int64_t* counts, std::int64_t n_components, std::int64_t n_features,
               double* rows, int num_threads, const runtime::Interrupt* interrupt) {
    const Kernels& set = kernels();
    const std::int64_t D = n_features, width = set.block_columns;
    // A task has some blocks of rows of one component.
    const std::int64_t fitting = tuning::task_draws / std::max<std::int64_t>(1, D);
    const std::int64_t task_rows = runtime::round_up(std::max<std::int64_t>(1, fitting), width);
    std::vector<std::int64_t> first_task(static_cast<std::size_t>(n_components) + 1, 0);
    std::vector<std::int64_t> first_row(static_cast<std::size_t>(n_components) + 1, 0);
    for (std::int64_t k = 0; k < n_components; ++k) {
        const auto at = static_cast<std::size_t>(k);
        first_task[at + 1] = first_task[at] + runtime::ceil_div(counts[k], task_rows);
        first_row[at + 1] = first_row[at] + counts[k];
    }
    const int threads = runtime::threads_for(first_row.back() * D * D, num_threads);
    const std::size_t bytes =
        runtime::aligned_size(static_cast<std::size_t>(D * width) * sizeof(double));
    runtime::Buffer buffer;
    char* memory = static_cast<char*>(buffer.reserve(bytes * static_cast<std::size_t>(threads)));
    runtime::parallel(
        first_task.back(), threads, interrupt,
        [&](std::int64_t task, int worker, runtime::Region&) {
            const auto after = std::upper_bound(first_task.begin(), first_task.end(), task);
            const std::int64_t k = after - first_task.begin() - 1;
            const auto at = static_cast<std::size_t>(k);
            const std::int64_t end = first_row[at + 1];
            const std::int64_t start = first_row[at] + (task - first_task[at]) * task_rows;
            double* block =
                reinterpret_cast<double*>(memory + bytes * static_cast<std::size_t>(worker));
            const double* factor = factors + (n_factors == 1 ? 0 : k * D * D);
            for (std::int64_t n = start; n < std::min(end, start + task_rows); n += width)
                set.draw_block(factor, means + k * D, D, std::min(width, end - n), rows + n * D,
                               block);
        });
}

}  // namespace vbfast::linalg
