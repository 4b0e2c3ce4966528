// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cmath>

#include "common/random.h"

// Functions whose last bit is the same on every machine, which libm does not promise: nothing but
// IEEE 754 basic operations, sqrt (correctly rounded by the standard), frexp and ldexp (exact).
// Compile what includes this with -ffp-contract=off. Good to some 1e-15, not to the last bit.

namespace silurus::datasets {

constexpr double kLn2 = 0.693147180559945309417;

/// Natural logarithm of a positive normal number, by the series of artanh.
inline double portable_log(double x) {
  int exponent = 0;
  double mantissa = std::frexp(x, &exponent);
  if (mantissa < 0.70710678118654752440) {
    mantissa *= 2;
    --exponent;
  }
  const double s = (mantissa - 1) / (mantissa + 1);
  const double square = s * s;
  double sum = 0;
  for (int k = 25; k >= 1; k -= 2) sum = sum * square + 1.0 / k;
  return 2 * s * sum + exponent * kLn2;
}

/// e to the x, |x| < 700, by the Taylor series of what a power of two leaves.
inline double portable_exp(double x) {
  const double power = std::floor(x / kLn2 + 0.5);
  const double rest = x - power * kLn2;
  double sum = 1;
  for (int k = 17; k >= 1; --k) sum = 1 + rest / k * sum;
  return std::ldexp(sum, static_cast<int>(power));
}

/// Normal with mean 0 and deviation 1, by Marsaglia's polar method; the second of each pair is
/// thrown away, so that a draw has no hidden state.
inline double normal(Random& random) {
  for (;;) {
    const double u = random.uniform(-1, 1);
    const double v = random.uniform(-1, 1);
    const double s = u * u + v * v;
    if (s < 1 && s > 1e-300) return u * std::sqrt(-2 * portable_log(s) / s);
  }
}

/// In [low, high], with a density proportional to x^-exponent; 0 < low <= high.
inline double power_law(Random& random, double low, double high, double exponent) {
  const double u = random.uniform();
  const double scale = portable_log(high / low);
  const double t = 1 - exponent;
  double logarithm = u * scale;  // exponent 1
  if (std::abs(t) > 1e-6) {
    logarithm = portable_log(1 + u * (portable_exp(t * scale) - 1)) / t;
  }
  const double x = low * portable_exp(logarithm);
  return x < low ? low : (x > high ? high : x);
}

}  // namespace silurus::datasets
