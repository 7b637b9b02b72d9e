"""to be filled"""
