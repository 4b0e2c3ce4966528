// SPDX-License-Identifier: Apache-2.0

#include "transport/verbs/challenges.h"

namespace silurus::transport::verbs {

const Challenge& Challenges::add(const ChallengeRequest& request, const std::string& peer,
                                 Nanoseconds now) {
  expire(now);
  if (const auto pushed_out = newcomers_.make_room()) drop(*pushed_out);
  const std::uint64_t number = next_number_++;
  newcomers_.add(number, peer, now);
  return sent_.emplace(number, Sent{request, make_challenge(number), peer}).first->second.challenge;
}

const Challenges::Sent* Challenges::find(std::uint64_t number, const std::string& peer,
                                         Nanoseconds now) {
  expire(now);
  const auto found = sent_.find(number);
  return found == sent_.end() || found->second.peer != peer ? nullptr : &found->second;
}

void Challenges::remove(std::uint64_t number) {
  newcomers_.remove(number);
  sent_.erase(number);
}

void Challenges::expire(Nanoseconds now) {
  while (const auto late = newcomers_.expire(now)) drop(*late);
}

void Challenges::drop(const Newcomers::TurnedAway& gone) {
  refusals_.add(gone.reason);
  sent_.erase(gone.number);
}

}  // namespace silurus::transport::verbs
