// SPDX-License-Identifier: Apache-2.0

#include "readers/gdal/gdal.h"

int main(int argc, char** argv) {
  using namespace silurus::readers;
  serve(argc, argv, open_gdal<2>, open_gdal<3>, needs_of_gdal);
}
