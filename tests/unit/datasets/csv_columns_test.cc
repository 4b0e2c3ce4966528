// SPDX-License-Identifier: Apache-2.0

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>
#include <string>
#include <vector>

#include "datasets/columns.h"
#include "tests/support/csv_text.h"

// Headers, and files as other programs write them.

namespace silurus::datasets {
namespace {

using rtree::Entry;
using testing::HasSubstr;
using testing_support::description_of;
using testing_support::error_of;
using testing_support::read_text;
using Boxes = std::vector<Entry<2>>;

const Boxes kParis = {{7, {{2.34, 48.85}, {2.36, 48.87}}}};
const Boxes kPoint = {{7, {{2.35, 48.86}, {2.35, 48.86}}}};

TEST(CsvColumns, LatitudesComeSecondWhereverTheyStand) {
  EXPECT_EQ(*read_text("id,lat,lon\n7,48.86,2.35\n"), kPoint);
  EXPECT_EQ(*read_text("Latitude,Longitude,ID\n48.86,2.35,7\n"), kPoint);
  EXPECT_EQ(*read_text("gid,minlat,minlon,maxlat,maxlon\n7,48.85,2.34,48.87,2.36\n"), kParis);
}

TEST(CsvColumns, OfSqlitesTreesAreRead) {
  EXPECT_EQ(*read_text("id,minX,maxX,minY,maxY\n7,2.34,2.36,48.85,48.87\n"), kParis);
  const std::vector<Entry<3>> box = {{1, {{2, 3, 4}, {5, 6, 7}}}};
  EXPECT_EQ(*read_text<3>("id,minX,maxX,minY,maxY,minZ,maxZ\n1,2,5,3,6,4,7\n"), box);
}

TEST(CsvColumns, OfOgr2ogrAreRead) {
  // ogr2ogr -f CSV -lco GEOMETRY=AS_XY, with a name that has a comma in it
  const std::string text = "X,Y,fid,name,pop_max\n2.35,48.86,7,\"Paris, France\",11000000\n";
  EXPECT_EQ(*read_text(text), kPoint);
  EXPECT_EQ(description_of(text), "X, Y, fid as id, by the header; ignored: name, pop_max");
}

TEST(CsvColumns, OfTile38AndOthersAreRead) {
  EXPECT_EQ(*read_text("key,lat,lng,id\nfleet,48.86,2.35,7\n"), kPoint);
  EXPECT_EQ(*read_text("osm_id;lng;lat\n7;2.35;48.86\n"), kPoint);
  EXPECT_EQ(*read_text("OBJECTID,Easting,Northing\n7,2.35,48.86\n"), kPoint);
  EXPECT_EQ(*read_text("gbifID,id,decimalLatitude,decimalLongitude\nx,7,48.86,2.35\n"), kPoint);
}

TEST(CsvColumns, AreKnownByManyNames) {
  for (const char* header :
       {"id,xmin,ymin,xmax,ymax", "oid,x_min,y_min,x_max,y_max", "FID,MinX,MinY,MaxX,MaxY",
        "id,left,bottom,right,top", "id,west,south,east,north",
        "id,min_lon,min_lat,max_lon,max_lat", "ogc_fid,lon_min,lat_min,lon_max,lat_max",
        "id,minimum x,minimum y,maximum x,maximum y", "id,bbox.minx,bbox.miny,bbox.maxx,bbox.maxy",
        "id,westbc,southbc,eastbc,northbc", "id,min-lng,min-latitude,max-lng,max-latitude",
        "id,lower_x,lower_y,upper_x,upper_y"}) {
    const auto entries = read_text(std::string(header) + "\n7,2.34,48.85,2.36,48.87\n");
    ASSERT_TRUE(entries.has_value()) << header << ": " << entries.error().message;
    EXPECT_EQ(*entries, kParis) << header;
  }
}

TEST(CsvColumns, ThatNamesDoNotDecideAreRefused) {
  EXPECT_THAT(error_of("id,a,b\n7,1,2\n"),
              HasSubstr(":1: the header names no coordinates (its columns are id, a, b); expected "
                        "x,y or lon,lat, or xmin,ymin,xmax,ymax"));
  EXPECT_THAT(error_of("id,a,b\n7,1,2\n"), HasSubstr("--columns"));
  EXPECT_THAT(error_of("id,lat,name\n7,1,x\n"), HasSubstr("the header names no x (its columns"));
  EXPECT_THAT(error_of("id,minx,miny,maxx\n1,2,3,4\n"), HasSubstr("names no ymax (its"));
  EXPECT_THAT(error_of("X,Y,lat,lon\n1,2,3,4\n"),
              HasSubstr("names x twice: column 1 is \"X\", column 4 \"lon\""));
  EXPECT_THAT(error_of("fid,gid,x,y\n1,2,3,4\n"), HasSubstr("names id twice"));
  EXPECT_THAT(error_of("id,x,y,xmin,ymin,xmax,ymax\n1,2,3,4,5,6,7\n"),
              HasSubstr("names a point and sides of a box"));
  EXPECT_THAT(error_of<3>("id,x,y\n1,2,3\n"), HasSubstr("the header names no z"));
  EXPECT_THAT(error_of("id,a\x1b[2J,b\n1,2,3\n"), HasSubstr("a\\x1b[2J, b"));
}

TEST(CsvColumns, ThatAreNotUnderstoodAreRefusedThoughBadLinesAreSkipped) {
  EXPECT_THAT(error_of("id,a,b\n7,1,2\n", {.skip_bad = true}), HasSubstr("names no coordinates"));
}

TEST(CsvColumns, CalledIdGoBeforeOthersOfThatMeaning) {
  EXPECT_EQ(*read_text("ogc_fid,id,lon,lat\n1,7,2.35,48.86\n"), kPoint);
}

TEST(CsvColumns, WithoutAnIdAreNumberedByLine) {
  const std::string text = "lat,lon\n1,2\n\n3,x\n5,6\n";
  const Boxes expected = {{1, {{2, 1}, {2, 1}}}, {3, {{6, 5}, {6, 5}}}};
  EXPECT_EQ(*read_text(text, {.skip_bad = true}), expected);
  EXPECT_EQ(description_of("lat,lon\n1,2\n"),
            "lat as y, lon as x, by the header; no id: numbered by line, from 1");
}

TEST(CsvColumns, ThatAreNotNeededMayHoldAnything) {
  EXPECT_EQ(*read_text("name,id,note,x,y,z,2024\n,7,\"a \"\"b\"\"\",2.35,48.86,,n/a\n"), kPoint);
}

TEST(CsvColumns, OfTheUserGoBeforeTheHeader) {
  const CsvOptions swapped = {.columns = "id,min_y,min_x,max_y,max_x"};
  EXPECT_EQ(*read_text("id,minx,miny,maxx,maxy\n7,48.85,2.34,48.87,2.36\n", swapped), kParis);
  EXPECT_EQ(*read_text("no,a,b,c,d\n7,48.85,2.34,48.87,2.36\n", swapped), kParis);
  EXPECT_EQ(*read_text("7,48.85,2.34,48.87,2.36\n", swapped), kParis);
  EXPECT_EQ(description_of("7,48.85,2.34,48.87,2.36\n", swapped),
            "id, min_y as ymin, min_x as xmin, max_y as ymax, max_x as xmax, by --columns");
}

TEST(CsvColumns, OfTheUserMayLeaveSomeOut) {
  EXPECT_EQ(*read_text("7,Paris,2.35,48.86\n", {.columns = "id,ignore,x,y"}), kPoint);
  EXPECT_EQ(*read_text("48.86\t2.35\n", {.columns = "lat,lon"})->begin()->box.min.begin(), 2.35);
  const CsvOptions open = {.columns = "id, ignore, y, x, ..."};
  // GeoNames: tabs, no header, nineteen columns
  EXPECT_EQ(*read_text("7\tParis\t48.86\t2.35\tP\tPPLC\tFR\t\t11\n", open), kPoint);
  EXPECT_EQ(*read_text("7,Paris,48.86,2.35\n", open), kPoint);
  EXPECT_EQ(error_of("7,Paris,48.86,2.35,1\n", {.columns = "id,ignore,y,x"}),
            ":1: 5 fields, expected id,ignore,y,x");
}

TEST(CsvColumns, OfTheUserThatMakeNoSenseAreInvalidArguments) {
  constexpr std::array<std::array<const char*, 2>, 7> kBad = {
      {{"id,lta,lon", "\"lta\" means nothing"},
       {"id,x", "the list names no y"},
       {"id,x,y,x", "names x twice"},
       {"id,gid,x,y", "besides"},
       {"id,x,y,z", "\"z\" is of a third axis"},
       {"id,x,y,xmin", "names a point and sides of a box"},
       {",", "\"\" means nothing"}}};
  for (const auto& [list, says] : kBad) {
    const auto entries = read_text("1,2,3\n", {.columns = list});
    ASSERT_FALSE(entries.has_value()) << list;
    EXPECT_EQ(entries.error().code, ErrorCode::kInvalidArgument) << list;
    EXPECT_THAT(entries.error().message, HasSubstr(says)) << list;
    EXPECT_THAT(entries.error().message, HasSubstr("expected names such as id,xmin,ymin")) << list;
  }
}

TEST(CsvColumns, AreFewerThanALimit) {
  std::string header = "id,x,y";
  for (std::size_t i = 0; i < Columns<2>::kMaxColumns; ++i) header += ",a";
  EXPECT_THAT(error_of(header + "\n"), HasSubstr("has 4099 columns, above 4096"));
}

TEST(CsvColumns, SayWhenThereIsNoHeader) {
  EXPECT_EQ(description_of("1,2,3\n"), "id, x, y, in this order, without a header");
  EXPECT_EQ(description_of("id;x;y\n1;2;3\n"), "id, x, y, by the header; separated by semicolons");
}

}  // namespace
}  // namespace silurus::datasets
