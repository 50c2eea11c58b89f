#include "cuda/estep.h"

#include <algorithm>

#include "cuda/distance_forms.h"
#include "cuda/gradient.h"
#include "cuda/moment_products.h"
#include "cuda/moments.h"
#include "cuda/packing.h"

namespace vbfast::cuda {

namespace {

using estep::Form;
using estep::MixtureParameters;
using estep::Moments;
using estep::PassRequest;

// The most memory of the log-joints of a chunk, where that is not what half of L2 holds.
constexpr std::int64_t joint_bytes_limit = std::int64_t{1} << 29;

template <class T>
std::vector<double> widened(const std::vector<T>& values) {
    return {values.begin(), values.end()};
}

template <class T>
class Pass final : public EStep {
  public:
    Pass(const MixtureParameters& parameters, const PassRequest& request,
         std::shared_ptr<Workspace> workspace, std::optional<bool> tensor_cores)
        : memory_(std::move(workspace)),
          request_(request),
          K_(static_cast<int>(parameters.n_components)),
          D_(parameters.n_features),
          n_partitions_(static_cast<int>(request.bounds.size()) - 1),
          tensor_cores_(tensor_cores),
          mixture_(parameters, request.gradient != nullptr, request.moments == Moments::pooled,
                   tensor_cores, memory_->device, memory_->compute),
          means_(parameters.means, parameters.means + K_ * D_) {
        if (parameters.form == Form::linear) std::fill(means_.begin(), means_.end(), 0.0);
        upload(memory_->row_sums,
               std::vector<RowSums>(static_cast<std::size_t>(n_partitions_), estep::no_sums),
               memory_->compute);
        if (summed()) {
            partial_ = lay_out_partials(request.moments, K_, D_);
            partial_.sums = memory_->partials.reserve<double>(partial_.stride * n_partitions_);
            clear(partial_.sums, partial_.stride * n_partitions_);
        }
        memory_->compute.wait();  // what was copied from may go
    }

    RunFound run(const std::vector<Block>& blocks, const Interrupt& interrupt) override {
        RunFound found = {-1, {}};
        if (asks_for_impossible()) {
            std::int64_t n_rows = 1;
            for (const Block& block : blocks) n_rows += block.host.n_rows;
            memory_->impossible_rows.reserve<std::int64_t>(n_rows);
            clear(memory_->impossible_count.reserve<unsigned long long>(1), 1);
        }
        found.first_bad =
            feed_chunks<T>(blocks, request_.bounds, tiles_of_chunk(), *memory_, interrupt,
                           [&](const FedChunk<T>& fed) { run_chunk(fed); });
        if (asks_for_impossible() && found.first_bad < 0) read_impossible(found.impossible);
        return found;
    }

    RowSums sums() override {
        std::vector<RowSums> of_partitions(static_cast<std::size_t>(n_partitions_));
        download(of_partitions.data(), memory_->row_sums.as<RowSums>(), n_partitions_);
        memory_->compute.wait();
        RowSums total = estep::no_sums;
        for (const RowSums& sums : of_partitions) add(sums, total);
        if (request_.assignment == Assignment::posterior)
            total.expected_log_joint = total.log_evidence - total.entropy;
        return total;
    }

    void statistics(double* weight, double* first, double* second) override {
        std::vector<double> merged(static_cast<std::size_t>(partial_.stride));
        double* device = memory_->merged.reserve<double>(partial_.stride);
        merge_partitions(partial_.sums, partial_.stride, n_partitions_, device, memory_->compute);
        download(merged.data(), device, partial_.stride);
        memory_->compute.wait();
        const std::vector<double> rounded = widened(mixture_.host_centres);
        const std::vector<double> origin = widened(mixture_.host_origin);
        const Centres centres = {means_.data(), rounded.data(),
                                 mixture_.all_near ? origin.data() : nullptr};
        move_moments(request_.moments, K_, D_, partial_, merged.data(), centres, weight, first,
                     second);
    }

  private:
    bool summed() const { return request_.moments != Moments::none; }

    // Whether the caller has to settle rows whose every log-joint overflows.
    bool asks_for_impossible() const {
        return request_.labels || request_.resp ||
               (request_.assignment == Assignment::hard && summed());
    }

    template <class U>
    void clear(U* memory, std::int64_t count) {
        check(cudaMemsetAsync(memory, 0, static_cast<std::size_t>(count) * sizeof(U),
                              memory_->compute),
              "clearing memory");
    }

    template <class U>
    void download(U* to, const U* from, std::int64_t count) {
        check(cudaMemcpyAsync(to, from, static_cast<std::size_t>(count) * sizeof(U),
                              cudaMemcpyDeviceToHost, memory_->compute),
              "a copy from the device");
    }

    void read_impossible(std::vector<std::int64_t>& rows) {
        unsigned long long count = 0;
        download(&count, memory_->impossible_count.as<unsigned long long>(), 1);
        memory_->compute.wait();
        rows.resize(count);
        if (count == 0) return;
        download(rows.data(), memory_->impossible_rows.as<std::int64_t>(),
                 static_cast<std::int64_t>(count));
        memory_->compute.wait();
        std::sort(rows.begin(), rows.end());
    }

    // How many tiles a chunk has at most: their log-joints fit in half of L2, or tiles are enough
    // to fill the device.
    std::int64_t tiles_of_chunk() const {
        const std::int64_t bytes = std::int64_t{K_} * tile_rows * static_cast<int>(sizeof(T));
        const std::int64_t in_cache =
            static_cast<std::int64_t>(memory_->device.l2_bytes / 2) / bytes;
        const std::int64_t filling = 4 * memory_->device.multiprocessors;
        const std::int64_t fitting = joint_bytes_limit / bytes;
        return std::max<std::int64_t>(1, std::min(std::max(in_cache, filling), fitting));
    }

    void run_chunk(const FedChunk<T>& fed);
    PosteriorRequest<T> request_of(const FedChunk<T>& fed);
    void evaluate(const Chunk<T>& chunk);
    T* find_gradient(const Chunk<T>& chunk);
    void summarise(const Chunk<T>& chunk, bool extreme);
    void write_outputs(const FedChunk<T>& fed, const ChunkOutputs<T>& outputs, const T* gradient);

    std::shared_ptr<Workspace> memory_;
    PassRequest request_;
    int K_;
    std::int64_t D_;
    int n_partitions_;
    std::optional<bool> tensor_cores_;
    PackedMixture<T> mixture_;
    std::vector<double> means_;
    PartialSums partial_ = {};
};

template <class T>
void Pass<T>::run_chunk(const FedChunk<T>& fed) {
    const cudaStream_t stream = memory_->compute;
    Chunk<T> chunk = fed.chunk;
    chunk.joint_stride = chunk.n_rows();
    chunk.joint = memory_->joint.reserve<T>(K_ * chunk.joint_stride);
    const PosteriorRequest<T> request = request_of(fed);
    evaluate(chunk);
    find_responsibilities(chunk, K_, request, stream);
    add_tile_sums(chunk.ranges, chunk.n_ranges, request.tile_sums, memory_->row_sums.as<RowSums>(),
                  stream);
    const T* gradient = request_.gradient ? find_gradient(chunk) : nullptr;
    if (summed()) {
        if (gradient && chunk.weights) weigh(chunk, K_, stream);
        summarise(chunk, fed.extreme || mixture_.extreme);
    }
    write_outputs(fed, request.outputs, gradient);
}

template <class T>
PosteriorRequest<T> Pass<T>::request_of(const FedChunk<T>& fed) {
    const cudaStream_t stream = memory_->compute;
    const std::int64_t n = fed.chunk.n_rows();
    const auto output = [&](const void* wanted, Buffer& buffer, std::int64_t width) {
        return wanted ? buffer.reserve<T>(n * width) : nullptr;
    };
    PosteriorRequest<T> request{};
    request.assignment = request_.assignment;
    request.entropy = request_.entropy;
    request.summed = summed() || request_.gradient;
    request.unweighted = request_.gradient != nullptr;
    if (request_.assignment == Assignment::given) {
        const Block& first = fed.block_of(fed.plan->pieces.front());
        if (first.given)
            request.given = fed.template gather<T>(fed.slot->given, K_, stream,
                                                   [](const Block& block) { return block.given; });
        else
            request.given_labels = fed.template gather<std::int64_t>(
                fed.slot->given, 1, stream, [](const Block& block) { return block.given_label; });
    }
    ChunkOutputs<T>& outputs = request.outputs;
    outputs.log_evidence = output(request_.log_evidence, memory_->log_evidence, 1);
    if (request_.labels) outputs.labels = memory_->labels.reserve<std::int64_t>(n);
    outputs.resp = output(request_.resp, memory_->resp, K_);
    outputs.entropy = output(request_.row_entropy, memory_->entropy, 1);
    outputs.expected_log_joint =
        output(request_.expected_log_joint, memory_->expected_log_joint, 1);
    outputs.log_joint = output(request_.log_joint, memory_->log_joint, K_);
    request.tile_sums = memory_->tile_sums.reserve<RowSums>(fed.chunk.n_tiles);
    if (asks_for_impossible())
        request.impossible = {memory_->impossible_count.as<unsigned long long>(),
                              memory_->impossible_rows.as<std::int64_t>()};
    return request;
}

// Log-joints.
template <class T>
void Pass<T>::evaluate(const Chunk<T>& chunk) {
    const cudaStream_t stream = memory_->compute;
    const int multiprocessors = memory_->device.multiprocessors;
    Chunk<T> measured = chunk;
    switch (mixture_.method) {
        case Method::lines:
            factor_log_joint(chunk, mixture_.lines, K_, mixture_.plan, multiprocessors, stream);
            return;
        case Method::products:
            product_log_joint(chunk, mixture_.steps, K_, mixture_.product_plan, multiprocessors,
                              stream);
            return;
        case Method::whitened: {
            T* rows = memory_->whitened.reserve<T>(chunk.n_rows() * D_);
            whiten(chunk, mixture_.lines, mixture_.plan, rows, stream);
            measured.rows = rows;
            measured.row_stride = D_;
            measured.rows_in_order = true;
            break;
        }
        case Method::distances:
            break;
    }
    distance_log_joint(measured, mixture_.kind, mixture_.distance, K_, stream);
}

template <class T>
T* Pass<T>::find_gradient(const Chunk<T>& chunk) {
    const cudaStream_t stream = memory_->compute;
    T* gradient = memory_->gradient.reserve<T>(chunk.n_rows() * D_);
    if (mixture_.method == Method::lines)
        factor_gradient(chunk, mixture_.lines, K_,
                        memory_->gradient_work.reserve<T>(2 * D_ * chunk.n_rows()), gradient,
                        stream);
    else
        distance_gradient(chunk, mixture_.kind, mixture_.distance, K_, gradient, stream);
    return gradient;
}

template <class T>
void Pass<T>::summarise(const Chunk<T>& chunk, bool extreme) {
    const cudaStream_t stream = memory_->compute;
    const Moments moments = request_.moments;
    const bool diagonal = moments == Moments::diag || moments == Moments::spherical;
    add_first_moments(chunk, mixture_.centres, K_, diagonal, extreme, partial_, stream);
    const bool products =
        !extreme && products_pay<T>(static_cast<int>(D_), memory_->device, tensor_cores_);
    const auto add_second = [&](const Chunk<T>& of, const T* centres, int K, bool pooled) {
        if (products)
            add_moment_products(of, centres, K, pooled, partial_, stream);
        else
            add_second_moments(of, centres, K, pooled, extreme, partial_, stream);
    };
    if (moments == Moments::full) add_second(chunk, mixture_.centres, K_, false);
    if (moments != Moments::pooled) return;
    if (!mixture_.all_near) {
        add_second(chunk, mixture_.centres, K_, true);
        return;
    }
    Chunk<T> together = chunk;
    together.joint = memory_->component_sums.reserve<T>(chunk.n_rows());
    sum_components(chunk, K_, together.joint, stream);
    add_second(together, mixture_.origin, 1, true);
}

// Copies the outputs of a chunk to where the pass wants them.
template <class T>
void Pass<T>::write_outputs(const FedChunk<T>& fed, const ChunkOutputs<T>& outputs,
                            const T* gradient) {
    bool any = false;
    const auto copy = [&](auto* from, void* to, std::int64_t width) {
        using U = std::remove_const_t<std::remove_pointer_t<decltype(from)>>;
        if (!from) return;
        any = true;
        for (std::size_t i = 0; i < fed.plan->pieces.size(); ++i) {
            const Piece& piece = fed.plan->pieces[i];
            download(static_cast<U*>(to) + piece.output_row * width,
                     static_cast<const U*>(from) + fed.place_of(i) * width, piece.n_rows * width);
        }
    };
    copy(outputs.log_evidence, request_.log_evidence, 1);
    copy(outputs.labels, request_.labels, 1);
    copy(outputs.resp, request_.resp, K_);
    copy(outputs.entropy, request_.row_entropy, 1);
    copy(outputs.expected_log_joint, request_.expected_log_joint, 1);
    copy(outputs.log_joint, request_.log_joint, K_);
    copy(gradient, request_.gradient, D_);
    if (any) memory_->compute.wait();
}

}  // namespace

template <class T>
std::unique_ptr<EStep> make_estep(const MixtureParameters& parameters, const PassRequest& request,
                                  std::shared_ptr<Workspace> workspace,
                                  std::optional<bool> tensor_cores) {
    return std::make_unique<Pass<T>>(parameters, request, std::move(workspace), tensor_cores);
}

template std::unique_ptr<EStep> make_estep<float>(const MixtureParameters&, const PassRequest&,
                                                  std::shared_ptr<Workspace>, std::optional<bool>);
template std::unique_ptr<EStep> make_estep<double>(const MixtureParameters&, const PassRequest&,
                                                   std::shared_ptr<Workspace>, std::optional<bool>);

}  // namespace vbfast::cuda
