// SPDX-License-Identifier: Apache-2.0

#include "tests/fake_verbs/fake_device.h"

#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "common/check.h"

namespace silurus::testing_support {
namespace {

FakeDevice* the_device = nullptr;

}  // namespace

/// What the functions below do.
struct FakeVerbs {
  static int poll(ibv_cq*, int most, ibv_wc* out) {
    FakeDevice& device = *the_device;
    int count = 0;
    for (; count < most && !device.completions_.empty(); ++count) {
      out[count] = device.completions_.front();
      device.completions_.pop_front();
    }
    return count;
  }
  static int request_notice(ibv_cq*, int) { return 0; }
  static int post_receives(ibv_srq*, ibv_recv_wr* request, ibv_recv_wr**) {
    for (; request != nullptr; request = request->next) {
      the_device->receive_number_ = request->wr_id;
      ++the_device->receives_;
    }
    return 0;
  }
  static FakeDevice::Pair& find(const ibv_qp& pair) {
    const auto found = std::ranges::find_if(the_device->pairs_,
                                            [&](const auto& one) { return &one->handle == &pair; });
    SILURUS_CHECK(found != the_device->pairs_.end());
    return **found;
  }
  static ibv_qp* create(const ibv_qp_init_attr& options) {
    auto& pair = the_device->pairs_.emplace_back(std::make_unique<FakeDevice::Pair>());
    pair->handle.context = &the_device->context_;
    pair->handle.qp_context = options.qp_context;
    pair->handle.qp_num = the_device->next_number_++;
    return &pair->handle;
  }
  static void grant(int access) { the_device->granted_.push_back(access); }
  static void fail(ibv_qp& pair) {
    FakeDevice::Pair& state = find(pair);
    if (std::exchange(state.is_in_error, true)) return;
    while (state.unfinished > 0) {
      --state.unfinished;
      the_device->complete(pair.qp_num, IBV_WC_WR_FLUSH_ERR, the_device->receive_number_);
    }
    the_device->last_receives_.push_back(pair.qp_num);
  }
  static void destroy(const ibv_qp& pair) {
    std::erase_if(the_device->completions_,
                  [&](const ibv_wc& completion) { return completion.qp_num == pair.qp_num; });
    std::erase_if(the_device->pairs_, [&](const auto& one) { return &one->handle == &pair; });
  }
  static void set_limit(std::uint32_t limit) {
    the_device->limit_ = limit;
    the_device->look_at_limit();
  }
  static ibv_cq* completion_queue() { return &the_device->completion_queue_; }
  static ibv_srq* receive_queue(void* context) {
    the_device->receive_queue_.srq_context = context;
    return &the_device->receive_queue_;
  }
};

FakeDevice::FakeDevice() {
  SILURUS_CHECK(the_device == nullptr);
  the_device = this;
  std::strcpy(device_.name, "fake0");
  context_.device = &device_;
  context_.async_fd = eventfd(0, EFD_CLOEXEC);
  context_.ops.poll_cq = &FakeVerbs::poll;
  context_.ops.req_notify_cq = &FakeVerbs::request_notice;
  context_.ops.post_srq_recv = &FakeVerbs::post_receives;
  completion_queue_.context = &context_;
  receive_queue_.context = &context_;
}

FakeDevice::~FakeDevice() {
  close(context_.async_fd);
  the_device = nullptr;
}

bool FakeDevice::deliver(const ibv_qp& pair, bool is_whole) {
  if (receives_ == 0) return false;
  --receives_;
  if (is_whole) {
    complete(pair.qp_num, IBV_WC_SUCCESS, receive_number_);
  } else {
    ++FakeVerbs::find(pair).unfinished;
  }
  look_at_limit();
  return true;
}

void FakeDevice::complete_send(const ibv_qp& pair) { complete(pair.qp_num, IBV_WC_SUCCESS, 0); }

void FakeDevice::complete(std::uint32_t pair_number, ibv_wc_status status, std::uint64_t number) {
  ibv_wc completion{};
  completion.wr_id = number;
  completion.status = status;
  completion.qp_num = pair_number;
  completions_.push_back(completion);
}

/// An alarm sounds once, then it has to be set again.
void FakeDevice::look_at_limit() {
  if (receives_ >= limit_) return;
  limit_ = 0;
  is_few_told_ = true;
}

}  // namespace silurus::testing_support

// What the program links instead of libibverbs'.

using silurus::testing_support::FakeVerbs;

extern "C" {

const char* ibv_get_device_name(ibv_device* device) { return device->name; }

int ibv_query_device(ibv_context*, ibv_device_attr* attributes) {
  *attributes = {};
  attributes->max_qp_wr = 1 << 14;
  attributes->max_cqe = 1 << 20;
  attributes->max_srq_wr = 1 << 14;
  attributes->max_qp_rd_atom = 16;
  attributes->max_qp_init_rd_atom = 16;
  attributes->phys_port_cnt = 0;
  return 0;
}

ibv_pd* ibv_alloc_pd(ibv_context* context) { return new ibv_pd{context, 0}; }
int ibv_dealloc_pd(ibv_pd* domain) {
  delete domain;
  return 0;
}

// The header has macros of these names.
ibv_mr*(ibv_reg_mr)(ibv_pd* domain, void* bytes, std::size_t size, int) {
  return new ibv_mr{domain->context, domain, bytes, size, 0, 1, 2};
}
ibv_mr* ibv_reg_mr_iova2(ibv_pd* domain, void* bytes, std::size_t size, std::uint64_t, unsigned) {
  return new ibv_mr{domain->context, domain, bytes, size, 0, 1, 2};
}
int ibv_dereg_mr(ibv_mr* region) {
  delete region;
  return 0;
}
int ibv_get_async_event(ibv_context*, ibv_async_event*) { return -1; }

ibv_comp_channel* ibv_create_comp_channel(ibv_context* context) {
  const int fd = eventfd(0, EFD_CLOEXEC);
  return new ibv_comp_channel{context, fd, 0};
}
int ibv_destroy_comp_channel(ibv_comp_channel* channel) {
  close(channel->fd);
  delete channel;
  return 0;
}

ibv_cq* ibv_create_cq(ibv_context*, int, void*, ibv_comp_channel*, int) {
  return FakeVerbs::completion_queue();
}
int ibv_destroy_cq(ibv_cq*) { return 0; }
int ibv_get_cq_event(ibv_comp_channel*, ibv_cq**, void**) { return -1; }
void ibv_ack_cq_events(ibv_cq*, unsigned) {}

ibv_srq* ibv_create_srq(ibv_pd*, ibv_srq_init_attr* options) {
  return FakeVerbs::receive_queue(options->srq_context);
}
int ibv_modify_srq(ibv_srq*, ibv_srq_attr* attributes, int what) {
  if ((what & IBV_SRQ_LIMIT) != 0) FakeVerbs::set_limit(attributes->srq_limit);
  return 0;
}
int ibv_destroy_srq(ibv_srq*) { return 0; }

ibv_qp* ibv_create_qp(ibv_pd*, ibv_qp_init_attr* options) { return FakeVerbs::create(*options); }
int ibv_modify_qp(ibv_qp* pair, ibv_qp_attr* attributes, int what) {
  const bool has_state = (what & IBV_QP_STATE) != 0;
  if (has_state && attributes->qp_state == IBV_QPS_ERR) FakeVerbs::fail(*pair);
  if (has_state && attributes->qp_state == IBV_QPS_INIT) {
    FakeVerbs::grant(static_cast<int>(attributes->qp_access_flags));
  }
  return 0;
}
int ibv_destroy_qp(ibv_qp* pair) {
  FakeVerbs::destroy(*pair);
  return 0;
}

}  // extern "C"
