// token_returns of ops.py in CUDA C++: one warp a sequence. The same sums run on CPU, one token after another.
// Built against the stable ABI of torch 2.11: the library loads into every later torch, built with CUDA or not.

#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/tensor.h>

#include <cuda_runtime.h>

#include <cstdint>
#include <stdexcept>
#include <string>

// Weak, as torch without CUDA does not have it.
extern "C" __attribute__((weak)) int32_t aoti_torch_get_current_cuda_stream(int32_t device_index, void** stream);

namespace {

using torch::stable::Tensor;

constexpr int kWarp = 32;
constexpr int kThreads = 128;

struct Inputs {
  const float* score;   // [B]
  const float* kl;      // [B, T]
  const float* values;  // [B, T]
  const bool* mask;     // [B, T]
  int64_t B, T;
  float kl_coefficient, gamma, lam;
};

struct Outputs {
  float* rewards;     // [B, T]
  float* advantages;  // [B, T]
  float* returns;     // [B, T]
  float* statistics;  // [B, 3]: count, mean, sum of squared deviations
};

struct Token {
  bool kept;
  float reward, value, delta;
};

__host__ __device__ Token token_at(const Inputs& in, int64_t row, int64_t column) {
  const int64_t at = row * in.T + column;
  const bool kept = in.mask[at];
  const bool next_kept = column + 1 < in.T && in.mask[at + 1];
  const float value = kept ? in.values[at] : 0.f;
  const float next_value = next_kept ? in.values[at + 1] : 0.f;
  float reward = kept ? -in.kl_coefficient * in.kl[at] : 0.f;
  if (kept && !next_kept) reward += in.score[row];
  return {kept, reward, value, reward + in.gamma * next_value - value};
}

__host__ __device__ void write(const Outputs& out, int64_t at, const Token& token, float advantage) {
  out.rewards[at] = token.reward;
  out.advantages[at] = token.kept ? advantage : 0.f;
  out.returns[at] = token.kept ? advantage + token.value : 0.f;
}

struct Statistics {
  float count = 0.f, mean = 0.f, m2 = 0.f;

  // Chan, Golub and LeVeque (1979).
  __host__ __device__ void merge(float other_count, float other_mean, float other_m2) {
    const float total = count + other_count;
    if (total == 0.f) return;
    const float difference = other_mean - mean, share = other_count / total;
    m2 += other_m2 + difference * difference * count * share;
    mean += difference * share;
    count = total;
  }

  __host__ __device__ void write(float* row) const {
    row[0] = count;
    row[1] = mean;
    row[2] = m2;
  }
};

__device__ float warp_sum(float x) {
  for (int step = kWarp / 2; step > 0; step /= 2) x += __shfl_xor_sync(~0u, x, step);
  return x;
}

// Lane 0 has the latest token; lane i holds, after the scan, the advantage of the i-th token before it.
__global__ void token_returns_kernel(Inputs in, Outputs out) {
  const int64_t row = (blockIdx.x * static_cast<int64_t>(blockDim.x) + threadIdx.x) / kWarp;
  const int lane = threadIdx.x % kWarp;
  if (row >= in.B) return;
  float carry = 0.f;
  Statistics statistics;
  for (int64_t end = in.T; end > 0; end -= kWarp) {
    const int64_t column = end - 1 - lane;
    Token token = {false, 0.f, 0.f, 0.f};
    if (column >= 0) token = token_at(in, row, column);
    float advantage = token.delta, discount = in.gamma * in.lam;
    for (int step = 1; step < kWarp; step *= 2) {
      const float later = __shfl_up_sync(~0u, advantage, step), later_discount = __shfl_up_sync(~0u, discount, step);
      if (lane >= step) {
        advantage += discount * later;
        discount *= later_discount;
      }
    }
    advantage += discount * carry;
    carry = __shfl_sync(~0u, advantage, kWarp - 1);
    if (column >= 0) write(out, row * in.T + column, token, advantage);
    const float count = warp_sum(token.kept ? 1.f : 0.f);
    const float mean = warp_sum(token.kept ? advantage : 0.f) / fmaxf(count, 1.f);
    const float deviation = token.kept ? advantage - mean : 0.f;
    statistics.merge(count, mean, warp_sum(deviation * deviation));
  }
  if (lane == 0) statistics.write(out.statistics + 3 * row);
}

void token_returns_on_cpu(const Inputs& in, const Outputs& out) {
  for (int64_t row = 0; row < in.B; ++row) {
    float advantage = 0.f;
    Statistics statistics;
    for (int64_t column = in.T - 1; column >= 0; --column) {
      const Token token = token_at(in, row, column);
      advantage = token.delta + in.gamma * in.lam * advantage;
      write(out, row * in.T + column, token, advantage);
      if (token.kept) statistics.merge(1.f, advantage, 0.f);
    }
    statistics.write(out.statistics + 3 * row);
  }
}

void token_returns_on_gpu(const Inputs& in, const Outputs& out, int32_t device_index) {
  if (in.B == 0) return;
  void* stream = nullptr;
  if (aoti_torch_get_current_cuda_stream == nullptr ||
      aoti_torch_get_current_cuda_stream(device_index, &stream) != 0) {
    throw std::runtime_error("token_returns: this torch was built without CUDA");
  }
  const int64_t blocks = (in.B * kWarp + kThreads - 1) / kThreads;
  token_returns_kernel<<<blocks, kThreads, 0, static_cast<cudaStream_t>(stream)>>>(in, out);
  const cudaError_t error = cudaGetLastError();
  if (error != cudaSuccess) throw std::runtime_error(std::string("token_returns: ") + cudaGetErrorString(error));
}

template <bool kOnGpu>
void token_returns(
    const Tensor& score, const Tensor& kl, const Tensor& values, const Tensor& mask, double kl_coefficient, double gamma,
    double lam, const Tensor& rewards, const Tensor& advantages, const Tensor& returns, const Tensor& statistics) {
  const Inputs in = {
      static_cast<const float*>(score.const_data_ptr()),
      static_cast<const float*>(kl.const_data_ptr()),
      static_cast<const float*>(values.const_data_ptr()),
      static_cast<const bool*>(mask.const_data_ptr()),
      values.size(0),
      values.size(1),
      static_cast<float>(kl_coefficient),
      static_cast<float>(gamma),
      static_cast<float>(lam)};
  const Outputs out = {
      static_cast<float*>(rewards.mutable_data_ptr()),
      static_cast<float*>(advantages.mutable_data_ptr()),
      static_cast<float*>(returns.mutable_data_ptr()),
      static_cast<float*>(statistics.mutable_data_ptr())};
  if constexpr (kOnGpu) {
    token_returns_on_gpu(in, out, values.get_device_index());
  } else {
    token_returns_on_cpu(in, out);
  }
}

}  // namespace

// All tensors are contiguous: returns_ops.py sees to that.
STABLE_TORCH_LIBRARY(sandwiching_cuda, m) {
  m.def(
      "token_returns(Tensor score, Tensor kl, Tensor values, Tensor mask, float kl_coefficient, float gamma, float lam, "
      "Tensor(a!) rewards, Tensor(b!) advantages, Tensor(c!) returns, Tensor(d!) statistics) -> ()");
}

STABLE_TORCH_LIBRARY_IMPL(sandwiching_cuda, CUDA, m) {
  m.impl("token_returns", TORCH_BOX(&token_returns<true>));
}

STABLE_TORCH_LIBRARY_IMPL(sandwiching_cuda, CPU, m) {
  m.impl("token_returns", TORCH_BOX(&token_returns<false>));
}
