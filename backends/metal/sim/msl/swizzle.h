// Swizzles of MSL vectors as properties: v.xy, v.bgra, also assigned to. One macro per vector width.
#pragma once

#define MSL_SWIZZLE2(i, a, r, j, b, g)                                              \
  __declspec(property(get = get_##a##b, put = put_##a##b)) vec<T, 2> a##b, r##g;    \
  MSL_INLINE vec<T, 2> get_##a##b() const { return vec<T, 2>(s[i], s[j]); }         \
  MSL_INLINE vec<T, 2> put_##a##b(vec<T, 2> v) {                                    \
    static_assert(i != j || sizeof(T) == 0, "a component may be assigned to once"); \
    s[i] = v.s[0], s[j] = v.s[1];                                                   \
    return v;                                                                       \
  }
#define MSL_SWIZZLE3(i, a, r, j, b, g, k, c, u)                                                           \
  __declspec(property(get = get_##a##b##c, put = put_##a##b##c)) vec<T, 3> a##b##c, r##g##u;              \
  MSL_INLINE vec<T, 3> get_##a##b##c() const { return vec<T, 3>(s[i], s[j], s[k]); }                      \
  MSL_INLINE vec<T, 3> put_##a##b##c(vec<T, 3> v) {                                                       \
    static_assert((i != j && i != k && j != k) || sizeof(T) == 0, "a component may be assigned to once"); \
    s[i] = v.s[0], s[j] = v.s[1], s[k] = v.s[2];                                                          \
    return v;                                                                                             \
  }
#define MSL_SWIZZLE4(i, a, r, j, b, g, k, c, u, l, d, t)                                                 \
  __declspec(property(get = get_##a##b##c##d, put = put_##a##b##c##d)) vec<T, 4> a##b##c##d, r##g##u##t; \
  MSL_INLINE vec<T, 4> get_##a##b##c##d() const { return vec<T, 4>(s[i], s[j], s[k], s[l]); }            \
  MSL_INLINE vec<T, 4> put_##a##b##c##d(vec<T, 4> v) {                                                   \
    static_assert((i != j && i != k && i != l && j != k && j != l && k != l) || sizeof(T) == 0,          \
                  "a component may be assigned to once");                                                \
    s[i] = v.s[0], s[j] = v.s[1], s[k] = v.s[2], s[l] = v.s[3];                                          \
    return v;                                                                                            \
  }

// MSL_AnK(F, ...) calls F with each of n components appended; K tells the nesting, macros do not recurse.
#define MSL_A21(F) F(0, x, r) F(1, y, g)
#define MSL_A22(F, ...) F(__VA_ARGS__, 0, x, r) F(__VA_ARGS__, 1, y, g)
#define MSL_A23(F, ...) F(__VA_ARGS__, 0, x, r) F(__VA_ARGS__, 1, y, g)
#define MSL_A24(F, ...) F(__VA_ARGS__, 0, x, r) F(__VA_ARGS__, 1, y, g)
#define MSL_A31(F) F(0, x, r) F(1, y, g) F(2, z, b)
#define MSL_A32(F, ...) F(__VA_ARGS__, 0, x, r) F(__VA_ARGS__, 1, y, g) F(__VA_ARGS__, 2, z, b)
#define MSL_A33(F, ...) F(__VA_ARGS__, 0, x, r) F(__VA_ARGS__, 1, y, g) F(__VA_ARGS__, 2, z, b)
#define MSL_A34(F, ...) F(__VA_ARGS__, 0, x, r) F(__VA_ARGS__, 1, y, g) F(__VA_ARGS__, 2, z, b)
#define MSL_A41(F) F(0, x, r) F(1, y, g) F(2, z, b) F(3, w, a)
#define MSL_A42(F, ...) F(__VA_ARGS__, 0, x, r) F(__VA_ARGS__, 1, y, g) F(__VA_ARGS__, 2, z, b) F(__VA_ARGS__, 3, w, a)
#define MSL_A43(F, ...) F(__VA_ARGS__, 0, x, r) F(__VA_ARGS__, 1, y, g) F(__VA_ARGS__, 2, z, b) F(__VA_ARGS__, 3, w, a)
#define MSL_A44(F, ...) F(__VA_ARGS__, 0, x, r) F(__VA_ARGS__, 1, y, g) F(__VA_ARGS__, 2, z, b) F(__VA_ARGS__, 3, w, a)
#define MSL_P221(...) MSL_A22(MSL_SWIZZLE2, __VA_ARGS__)
#define MSL_P231(...) MSL_A22(MSL_P232, __VA_ARGS__)
#define MSL_P232(...) MSL_A23(MSL_SWIZZLE3, __VA_ARGS__)
#define MSL_P241(...) MSL_A22(MSL_P242, __VA_ARGS__)
#define MSL_P242(...) MSL_A23(MSL_P243, __VA_ARGS__)
#define MSL_P243(...) MSL_A24(MSL_SWIZZLE4, __VA_ARGS__)
#define MSL_SWIZZLES2 MSL_A21(MSL_P221) MSL_A21(MSL_P231) MSL_A21(MSL_P241)
#define MSL_P321(...) MSL_A32(MSL_SWIZZLE2, __VA_ARGS__)
#define MSL_P331(...) MSL_A32(MSL_P332, __VA_ARGS__)
#define MSL_P332(...) MSL_A33(MSL_SWIZZLE3, __VA_ARGS__)
#define MSL_P341(...) MSL_A32(MSL_P342, __VA_ARGS__)
#define MSL_P342(...) MSL_A33(MSL_P343, __VA_ARGS__)
#define MSL_P343(...) MSL_A34(MSL_SWIZZLE4, __VA_ARGS__)
#define MSL_SWIZZLES3 MSL_A31(MSL_P321) MSL_A31(MSL_P331) MSL_A31(MSL_P341)
#define MSL_P421(...) MSL_A42(MSL_SWIZZLE2, __VA_ARGS__)
#define MSL_P431(...) MSL_A42(MSL_P432, __VA_ARGS__)
#define MSL_P432(...) MSL_A43(MSL_SWIZZLE3, __VA_ARGS__)
#define MSL_P441(...) MSL_A42(MSL_P442, __VA_ARGS__)
#define MSL_P442(...) MSL_A43(MSL_P443, __VA_ARGS__)
#define MSL_P443(...) MSL_A44(MSL_SWIZZLE4, __VA_ARGS__)
#define MSL_SWIZZLES4 MSL_A41(MSL_P421) MSL_A41(MSL_P431) MSL_A41(MSL_P441)
