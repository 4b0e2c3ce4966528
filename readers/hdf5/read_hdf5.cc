// SPDX-License-Identifier: Apache-2.0

#include "readers/hdf5/hdf5.h"

int main(int argc, char** argv) {
  using namespace silurus::readers;
  serve(argc, argv, open_hdf5<2>, open_hdf5<3>);
}
