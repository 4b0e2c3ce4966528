// A precompiled header needs a unit to belong to.
