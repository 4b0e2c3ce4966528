// SPDX-License-Identifier: Apache-2.0

#include "readers/fits/fits.h"

int main(int argc, char** argv) {
  using namespace silurus::readers;
  serve(argc, argv, open_fits<2>, open_fits<3>);
}
