adsl <- dataset("adsl")
treated <- adsl[is(adsl$SAFFL, "Y"), ]
show_number <- function(row, column) {
  x <- number(column)
  x <- x[!is.na(x)]
  place <- paste0("/results/", row)
  show(paste0(place, "/n"), length(x))
  show(paste0(place, "/missing"), length(column) - length(x))
  show(paste0(place, "/summary/mean"), if (length(x)) mean(x))
  show(paste0(place, "/summary/sd"), if (length(x) > 1) sd(x))
  for (part in c(q1 = 0.25, median = 0.5, q3 = 0.75))
    show(paste0(place, "/summary/", c("q1", "median", "q3")[4 * part]), if (length(x)) quantile(x, part))
}
show_counts <- function(variable, words) {
  words <- words[!is.na(words)]
  for (word in unique(words)) {
    place <- paste0("/results/variable=", variable, "/categories/value=", word)
    show(paste0(place, "/count"), sum(words == word))
    show(paste0(place, "/rate"), mean(words == word))
  }
}
show_number("variable=age", treated$AGE)
show_number("variable=weight", treated$WEIGHTBL)
show_counts("sex", unname(c(F = "female", M = "male", OTHER = "other", U = "unknown")[treated$SEX]))
show_counts("diagnosis", treated$DIAG)
show_counts("steroid_resistant", unname(c(Y = "true", N = "false")[treated$STERRSFL]))
show_number("variable=infusions", treated$INFUSN)
show_number("variable=courses", treated$COURSEN)
show_number("variable=index_course_dose", treated$CRS1DOSE)
measures <- @MEASURES@
columns <- @COLUMNS@
for (i in which(!duplicated(measures)))
  if (any(!is.na(treated[[columns[i]]]))) show_number(paste0("section=baseline,variable=", measures[i]), treated[[columns[i]]])
