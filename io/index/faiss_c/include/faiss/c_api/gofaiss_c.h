/* The C interface that github.com/blevesearch/go-faiss v1.0.30 calls.
 *
 * go-faiss is written against a fork of FAISS; this header and the C++ beside
 * it give the same 81 functions over any FAISS from 1.7.3 on. The headers that
 * go-faiss includes by name are one-line files that include this one. Plain C,
 * so that cgo can read it.
 *
 * Unless stated otherwise: an int result is 0, or a negative number after an
 * error, whose text faiss_get_last_error gives; vectors are rows of d floats
 * (binary ones of d/8 bytes), one after the other; no function keeps a pointer
 * that it was given. */
#ifndef GOFAISS_C_H
#define GOFAISS_C_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef int64_t idx_t;

/* Subclasses share the type of their base: a cast changes no pointer. */
typedef struct FaissIndex_H FaissIndex;
typedef FaissIndex FaissIndexFlat;
typedef FaissIndex FaissIndexIVF;
typedef FaissIndex FaissIndexScalarQuantizer;
typedef FaissIndex FaissIndexIDMap2;
typedef struct FaissIndexBinary_H FaissIndexBinary;
typedef FaissIndexBinary FaissIndexBinaryIVF;
typedef struct FaissIDSelector_H FaissIDSelector;
typedef FaissIDSelector FaissIDSelectorRange;
typedef FaissIDSelector FaissIDSelectorBatch;
typedef FaissIDSelector FaissIDSelectorBitmap;
typedef FaissIDSelector FaissIDSelectorNot;
typedef struct FaissSearchParameters_H FaissSearchParameters;
typedef FaissSearchParameters FaissSearchParametersIVF;
typedef struct FaissRangeSearchResult_H FaissRangeSearchResult;
typedef struct FaissParameterSpace_H FaissParameterSpace;

/* The values of faiss::MetricType. */
typedef enum FaissMetricType {
    METRIC_INNER_PRODUCT = 0,
    METRIC_L2 = 1,
    METRIC_L1,
    METRIC_Linf,
    METRIC_Lp,
    METRIC_Canberra = 20,
    METRIC_BrayCurtis,
    METRIC_JensenShannon
} FaissMetricType;

/* Flags of faiss_read_index_*. The fork splits upstream's IO_FLAG_MMAP in two
 * and adds a flag against prefetching, which upstream lacks: here mapped lists
 * are never prefetched. */
#define FAISS_IO_FLAG_MMAP 0
#define FAISS_IO_FLAG_READ_ONLY 2
#define FAISS_IO_FLAG_READ_MMAP 8
#define FAISS_IO_FLAG_ONDISK_IVF 0x646f0000
#define FAISS_IO_FLAG_SKIP_PREFETCH 0

/* The text of the last error of any thread, valid until the calling thread asks again. */
const char* faiss_get_last_error(void);
/* Threads of OpenMP regions that the calling thread starts, no other thread's. */
void faiss_set_omp_threads(unsigned int n);
void faiss_fvec_renorm_L2(size_t d, size_t nx, float* x);

/* Any index. Ids of a search that found fewer than k rows end with -1. */
/* An OPQ rotation and a product quantiser are set up to train on fewer rows, in fewer rounds, than upstream has it. */
int faiss_index_factory(FaissIndex** out, int d, const char* description, FaissMetricType metric);
void faiss_Index_free(FaissIndex* index);
int faiss_Index_d(const FaissIndex* index);
int faiss_Index_is_trained(const FaissIndex* index);
idx_t faiss_Index_ntotal(const FaissIndex* index);
FaissMetricType faiss_Index_metric_type(const FaissIndex* index);
int faiss_Index_train(FaissIndex* index, idx_t n, const float* x);
int faiss_Index_add(FaissIndex* index, idx_t n, const float* x);
int faiss_Index_add_with_ids(FaissIndex* index, idx_t n, const float* x, const idx_t* ids);
int faiss_Index_search(const FaissIndex* index, idx_t n, const float* x, idx_t k, float* distances, idx_t* ids);
int faiss_Index_search_with_params(const FaissIndex* index, idx_t n, const float* x, idx_t k,
                                   const FaissSearchParameters* params, float* distances, idx_t* ids);
int faiss_Index_range_search(const FaissIndex* index, idx_t n, const float* x, float radius,
                             FaissRangeSearchResult* result);
/* IVF: needs a direct map. */
int faiss_Index_reconstruct(const FaissIndex* index, idx_t key, float* out);
int faiss_Index_reconstruct_batch(const FaissIndex* index, idx_t n, const idx_t* keys, float* out);
int faiss_Index_reset(FaissIndex* index);
/* IVF: refused with a direct map of the hash kind. removed may be NULL. */
int faiss_Index_remove_ids(FaissIndex* index, const FaissIDSelector* selector, size_t* removed);
/* Moves other's rows into index, adding add_id to their ids; other is empty afterwards. */
int faiss_Index_merge_from(FaissIndex* index, FaissIndex* other, idx_t add_id);
/* Distances of one query to n stored rows. IVF: needs a direct map. */
int faiss_Index_dist_compute(const FaissIndex* index, const float* query, const idx_t* ids, size_t n,
                             float* distances);
/* Bytes of the codes, ids and centroids, about; 0 after an error. */
size_t faiss_Index_size(const FaissIndex* index);

/* Casts: NULL if the index is of another kind. */
FaissIndexFlat* faiss_IndexFlat_cast(FaissIndex* index);
FaissIndexIVF* faiss_IndexIVF_cast(FaissIndex* index);
FaissIndexScalarQuantizer* faiss_IndexScalarQuantizer_cast(FaissIndex* index);
FaissIndexIDMap2* faiss_IndexIDMap2_cast(FaissIndex* index);

int faiss_IndexFlat_new_with(FaissIndexFlat** out, idx_t d, FaissMetricType metric);
/* The rows themselves, size floats, owned by the index. */
void faiss_IndexFlat_xb(FaissIndexFlat* index, float** xb, size_t* size);
FaissIndex* faiss_IndexIDMap2_sub_index(FaissIndexIDMap2* index);

/* IVF, also beneath an IDMap or a vector transform: 0 or nothing if there is none. */
size_t faiss_IndexIVF_nlist(const FaissIndexIVF* index);
size_t faiss_IndexIVF_nprobe(const FaissIndexIVF* index);
void faiss_IndexIVF_set_nprobe(FaissIndexIVF* index, size_t nprobe);
/* IVF itself: an error for any other kind. type: 0 none, 1 array, 2 hash. */
int faiss_IndexIVF_set_direct_map(FaissIndexIVF* index, int type);
/* counts[nlist]: rows of each list that the parameters' selector admits. */
int faiss_IndexIVF_list_vector_count(const FaissIndexIVF* index, idx_t* counts, size_t nlist,
                                     const FaissSearchParameters* params);
int faiss_IndexIVF_search_closest_eligible_centroids(const FaissIndexIVF* index, idx_t n, const float* x, idx_t k,
                                                     float* distances, idx_t* ids,
                                                     const FaissSearchParameters* params);
int faiss_IndexIVF_search_preassigned_with_params(const FaissIndexIVF* index, idx_t n, const float* x, idx_t k,
                                                  const idx_t* assign, const float* centroid_distances,
                                                  float* distances, idx_t* ids, int store_pairs,
                                                  const FaissSearchParametersIVF* params);
/* Each of the three may be NULL: centroids[nlist*d], cardinalities[nlist], ids[nlist]. */
int faiss_IndexIVF_get_centroids_and_cardinality(const FaissIndexIVF* index, float* centroids,
                                                 size_t* cardinalities, idx_t* ids);
/* Makes target a trained, empty twin of source. */
int faiss_Set_quantizers(FaissIndexIVF* target, FaissIndex* source);

/* Selectors. Not keeps a pointer to the selector that it negates. */
void faiss_IDSelector_free(FaissIDSelector* selector);
int faiss_IDSelectorRange_new(FaissIDSelectorRange** out, idx_t min, idx_t max);
int faiss_IDSelectorBatch_new(FaissIDSelectorBatch** out, size_t n, const idx_t* ids);
int faiss_IDSelectorBitmap_new(FaissIDSelectorBitmap** out, size_t n, const uint8_t* bitmap);
int faiss_IDSelectorNot_new(FaissIDSelectorNot** out, const FaissIDSelector* of);

/* Parameters keep a pointer to their selector (which may be NULL). */
int faiss_SearchParameters_new(FaissSearchParameters** out, FaissIDSelector* selector);
void faiss_SearchParameters_free(FaissSearchParameters* params);
int faiss_SearchParametersIVF_new_with(FaissSearchParametersIVF** out, FaissIDSelector* selector, size_t nprobe,
                                       size_t max_codes);
size_t faiss_SearchParametersIVF_nprobe(const FaissSearchParametersIVF* params);

/* Results of a range search: query i has rows lims[i] to lims[i+1]. Owned by the result. */
int faiss_RangeSearchResult_new(FaissRangeSearchResult** out, idx_t nq);
void faiss_RangeSearchResult_free(FaissRangeSearchResult* result);
size_t faiss_RangeSearchResult_nq(const FaissRangeSearchResult* result);
void faiss_RangeSearchResult_lims(FaissRangeSearchResult* result, size_t** lims);
void faiss_RangeSearchResult_labels(FaissRangeSearchResult* result, idx_t** ids, float** distances);

int faiss_ParameterSpace_new(FaissParameterSpace** out);
void faiss_ParameterSpace_free(FaissParameterSpace* space);
int faiss_ParameterSpace_set_index_parameter(const FaissParameterSpace* space, FaissIndex* index, const char* name,
                                             double value);

/* Files and buffers; a written buffer is freed with faiss_free_buf. */
int faiss_write_index_fname(const FaissIndex* index, const char* path);
int faiss_read_index_fname(const char* path, int flags, FaissIndex** out);
int faiss_write_index_buf(const FaissIndex* index, size_t* size, unsigned char** buf);
int faiss_read_index_buf(const unsigned char* buf, size_t size, int flags, FaissIndex** out);
int faiss_write_index_binary_buf(const FaissIndexBinary* index, size_t* size, unsigned char** buf);
int faiss_read_index_binary_buf(const unsigned char* buf, size_t size, int flags, FaissIndexBinary** out);
void faiss_free_buf(unsigned char** buf);

/* Indexes of bits, as above. */
int faiss_index_binary_factory(FaissIndexBinary** out, int d, const char* description);
void faiss_IndexBinary_free(FaissIndexBinary* index);
int faiss_IndexBinary_d(const FaissIndexBinary* index);
idx_t faiss_IndexBinary_ntotal(const FaissIndexBinary* index);
FaissMetricType faiss_IndexBinary_metric_type(const FaissIndexBinary* index);
int faiss_IndexBinary_train(FaissIndexBinary* index, idx_t n, const uint8_t* x);
int faiss_IndexBinary_add(FaissIndexBinary* index, idx_t n, const uint8_t* x);
int faiss_IndexBinary_search(const FaissIndexBinary* index, idx_t n, const uint8_t* x, idx_t k, int32_t* distances,
                             idx_t* ids);
int faiss_IndexBinary_search_with_params(const FaissIndexBinary* index, idx_t n, const uint8_t* x, idx_t k,
                                         const FaissSearchParameters* params, int32_t* distances, idx_t* ids);
size_t faiss_IndexBinary_size(const FaissIndexBinary* index);
FaissIndexBinaryIVF* faiss_IndexBinaryIVF_cast(FaissIndexBinary* index);
size_t faiss_IndexBinaryIVF_nlist(const FaissIndexBinaryIVF* index);
size_t faiss_IndexBinaryIVF_nprobe(const FaissIndexBinaryIVF* index);
void faiss_IndexBinaryIVF_set_nprobe(FaissIndexBinaryIVF* index, size_t nprobe);
int faiss_IndexBinaryIVF_set_direct_map(FaissIndexBinaryIVF* index, int type);
int faiss_IndexBinaryIVF_list_vector_count(const FaissIndexBinaryIVF* index, idx_t* counts, size_t nlist,
                                           const FaissSearchParameters* params);
int faiss_IndexBinaryIVF_search_closest_eligible_centroids(const FaissIndexBinaryIVF* index, idx_t n,
                                                           const uint8_t* x, idx_t k, int32_t* distances,
                                                           idx_t* ids, const FaissSearchParameters* params);
int faiss_IndexBinaryIVF_search_preassigned_with_params(const FaissIndexBinaryIVF* index, idx_t n, const uint8_t* x,
                                                        idx_t k, const idx_t* assign,
                                                        const int32_t* centroid_distances, int32_t* distances,
                                                        idx_t* ids, int store_pairs,
                                                        const FaissSearchParametersIVF* params);
int faiss_IndexBinaryIVF_get_centroids_and_cardinality(const FaissIndexBinaryIVF* index, uint8_t* centroids,
                                                       size_t* cardinalities, idx_t* ids);

/* Beyond go-faiss, for winnow's own cgo. */

/* The version of the FAISS beneath, such as "1.7.3". */
const char* faiss_get_version(void);
/* Writes an empty IVF index, whose nlist centroids are given, to path. Its codes are trained on the n rows x. */
int faiss_train_with_centroids(const char* path, int d, const char* description, FaissMetricType metric, size_t nlist,
                               const float* centroids, idx_t n, const float* x);
/* stop != 0: whatever FAISS call runs, or is made until it is 0 again, ends with
 * an error at its next look: between the rounds of k-means and the blocks of a
 * search or an assignment. May be called by any thread while others are in FAISS. */
void faiss_interrupt(int stop);

#ifdef __cplusplus
}
#endif
#endif
