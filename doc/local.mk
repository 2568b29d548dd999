# doc: what is installed beside the manual
dist_doc_DATA = README NEWS SECURITY
