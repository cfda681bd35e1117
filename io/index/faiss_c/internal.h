// What the files of this layer share: error handling and the casts between C handles and FAISS objects.
#pragma once

#include <faiss/Index.h>
#include <faiss/IndexBinary.h>
#include <faiss/IndexBinaryIVF.h>
#include <faiss/IndexIVF.h>
#include <faiss/impl/AuxIndexStructures.h>
#include <faiss/impl/FaissAssert.h>
#include <faiss/impl/IDSelector.h>
#include <faiss/invlists/InvertedLists.h>

#include <exception>

// After FAISS's headers: its METRIC_* enumerators live in namespace faiss, these are global.
#include <faiss/c_api/gofaiss_c.h>

namespace gofaiss {

// Records the text for faiss_get_last_error and returns code.
int fail(int code, const char* what);

// Runs f; an exception becomes an error code, with upstream's numbers, since none may cross into Go.
template <class F>
int guard(F&& f) {
    try {
        f();
        return 0;
    } catch (const faiss::FaissException& e) {
        return fail(-2, e.what());
    } catch (const std::exception& e) {
        return fail(-4, e.what());
    } catch (...) {
        return fail(-1, "unknown exception");
    }
}

// C handle → C++. Every handle of a class points at its base class (faiss::Index, …), so that casts keep the pointer.
inline faiss::Index* cpp(FaissIndex* p) { return reinterpret_cast<faiss::Index*>(p); }
inline const faiss::Index* cpp(const FaissIndex* p) { return reinterpret_cast<const faiss::Index*>(p); }
inline faiss::IndexBinary* cpp(FaissIndexBinary* p) { return reinterpret_cast<faiss::IndexBinary*>(p); }
inline const faiss::IndexBinary* cpp(const FaissIndexBinary* p) {
    return reinterpret_cast<const faiss::IndexBinary*>(p);
}
inline faiss::IDSelector* cpp(FaissIDSelector* p) { return reinterpret_cast<faiss::IDSelector*>(p); }
inline const faiss::IDSelector* cpp(const FaissIDSelector* p) {
    return reinterpret_cast<const faiss::IDSelector*>(p);
}
inline faiss::SearchParameters* cpp(FaissSearchParameters* p) {
    return reinterpret_cast<faiss::SearchParameters*>(p);
}
inline const faiss::SearchParameters* cpp(const FaissSearchParameters* p) {
    return reinterpret_cast<const faiss::SearchParameters*>(p);
}
inline faiss::RangeSearchResult* cpp(FaissRangeSearchResult* p) {
    return reinterpret_cast<faiss::RangeSearchResult*>(p);
}
inline const faiss::RangeSearchResult* cpp(const FaissRangeSearchResult* p) {
    return reinterpret_cast<const faiss::RangeSearchResult*>(p);
}

// C++ → C handle. The argument types convert a subclass to its base first.
inline FaissIndex* handle(faiss::Index* p) { return reinterpret_cast<FaissIndex*>(p); }
inline FaissIndexBinary* handle(faiss::IndexBinary* p) { return reinterpret_cast<FaissIndexBinary*>(p); }
inline FaissIDSelector* handle(faiss::IDSelector* p) { return reinterpret_cast<FaissIDSelector*>(p); }
inline FaissSearchParameters* handle(faiss::SearchParameters* p) {
    return reinterpret_cast<FaissSearchParameters*>(p);
}
inline FaissRangeSearchResult* handle(faiss::RangeSearchResult* p) {
    return reinterpret_cast<FaissRangeSearchResult*>(p);
}

// The IVF index at or beneath p, through IDMaps and vector transforms ("PCA64,IVF256,Flat"), or null.
faiss::IndexIVF* find_ivf(faiss::Index* p);
const faiss::IndexIVF* find_ivf(const faiss::Index* p);

// counts[l] = rows of list l that the parameters' selector admits. For float and binary IVF alike.
template <class IVF>
void count_rows(const IVF& ivf, idx_t* counts, size_t nlist, const FaissSearchParameters* params) {
    const faiss::IDSelector* selector = params ? cpp(params)->sel : nullptr;
    for (size_t l = 0; l < nlist && l < ivf.nlist; l++) {
        size_t n = ivf.invlists->list_size(l);
        if (!selector || n == 0) {
            counts[l] = n;
            continue;
        }
        faiss::InvertedLists::ScopedIds ids(ivf.invlists, l);
        counts[l] = 0;
        for (size_t i = 0; i < n; i++) counts[l] += selector->is_member(ids[i]);
    }
}

// Centroids, rows and number of each list; any of the three may be null.
template <class IVF, class T>
void describe_lists(const IVF& ivf, T* centroids, size_t* cardinalities, idx_t* ids) {
    if (centroids) ivf.quantizer->reconstruct_n(0, ivf.nlist, centroids);
    for (size_t l = 0; l < ivf.nlist; l++) {
        if (cardinalities) cardinalities[l] = ivf.invlists->list_size(l);
        if (ids) ids[l] = l;
    }
}

// Bytes of the codes and ids in the lists.
template <class IVF>
size_t list_bytes(const IVF& ivf) {
    size_t rows = 0;
    for (size_t l = 0; l < ivf.nlist; l++) rows += ivf.invlists->list_size(l);
    return rows * (ivf.code_size + sizeof(idx_t));
}

} // namespace gofaiss
